"""What `backnorm.jax.batch_norm` returns."""

from __future__ import annotations

from dataclasses import dataclass

import jax

__all__ = ["NormalizedBatch"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, slots=True, eq=False)
class NormalizedBatch:
    """The output and the statistics: a pytree, so that it may leave a compiled function.

    Attributes
    ----------
    y
        The output; shape and dtype of x. [scale]
    mean
        Mean of each channel; shape (C,), float32, or float64 where x or a parameter is. [x]
    var
        Biased variance (divided by n) of each channel; as mean. [x]^2
    inv_std
        1/sqrt(var + eps); as mean. 1/[x]
    n
        How many values each channel has; int32. With a mask or an axis_name those that count, in
        all parts of the batch.
    """

    y: jax.Array
    mean: jax.Array
    var: jax.Array
    inv_std: jax.Array
    n: jax.Array
