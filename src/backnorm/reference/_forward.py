"""The forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backnorm.reference._channels import rows, spread, total, widen

if TYPE_CHECKING:
    from backnorm._types import AnyArray

__all__ = ["Normalized", "forward"]


@dataclass(frozen=True, slots=True, eq=False)
class Normalized:
    """What `forward` returns; every array is float64, or complex128 for a complex x.

    Attributes
    ----------
    y
        The output; shape of x. [gamma]
    x_hat
        The output before gamma and beta; shape of x. No unit.
    mean
        Mean of each channel, or the frozen one; shape (C,). [x]
    var
        Biased variance (divided by n) of each channel, or the frozen one; shape (C,). [x]^2
    inv_std
        1/sqrt(var + eps); shape (C,). 1/[x]
    n
        How many values each channel has.
    """

    y: AnyArray
    x_hat: AnyArray
    mean: AnyArray
    var: AnyArray
    inv_std: AnyArray
    n: int


def forward(
    x: AnyArray,
    gamma: AnyArray | None = None,
    beta: AnyArray | None = None,
    *,
    channel_axis: int = 1,
    eps: float = 1e-5,
    running_mean: AnyArray | None = None,
    running_var: AnyArray | None = None,
) -> Normalized:
    """Normalize each channel: y = gamma*(x - mean)/sqrt(var + eps) + beta.

    Eq. (1) to (4) of docs/mathematics.md; with frozen statistics Eq. (16).

    Parameters
    ----------
    x
        Input; any number of axes, any float or complex dtype. [x]
    gamma
        Scale; shape (C,); None stands for 1. [y]
    beta
        Shift; shape (C,); None stands for 0. [y]
    channel_axis
        The axis of x that holds the channels; all others are reduced.
    eps
        Added to the variance. [x]^2
    running_mean
        Frozen mean; shape (C,). Given together with `running_var`, they replace the statistics
        of x. [x]
    running_var
        Frozen variance; shape (C,). [x]^2

    Returns
    -------
    Normalized
        The output, the output before the affine part, and the statistics.

    Raises
    ------
    IndexError
        If x has no axis `channel_axis`; nothing else is checked.

    Notes
    -----
    Source: Ioffe and Szegedy, "Batch Normalization", 2015, section 3, algorithm 1.

    Accuracy: a few float64 roundings times sqrt(1 + mean^2/(var + eps))
    (`tests/test_reference_forward.py`). float64 input beyond 1e154 overflows the variance.

    Cost: three passes over x, three temporary arrays.

    Examples
    --------
    The mean is 2, the variance 4:

    >>> import numpy as np
    >>> from backnorm import reference
    >>> x = np.array([[0.0], [0.0], [4.0], [4.0]])
    >>> fwd = reference.forward(x, np.array([2.0]), np.array([1.0]), eps=0.0)
    >>> fwd.x_hat[:, 0].tolist()
    [-1.0, -1.0, 1.0, 1.0]
    >>> fwd.y[:, 0].tolist()
    [-1.0, -1.0, 3.0, 3.0]
    """
    x = widen(x)
    n = rows(x, channel_axis).shape[1]
    if running_mean is None or running_var is None:
        mean = total(x, channel_axis) / n
        centred = x - spread(mean, x.ndim, channel_axis)
        var = total(centred * centred, channel_axis) / n
    else:
        mean, var = widen(running_mean), widen(running_var)
        centred = x - spread(mean, x.ndim, channel_axis)
    inv_std = 1 / np.sqrt(var + eps)
    x_hat = centred * spread(inv_std, x.ndim, channel_axis)
    y = x_hat
    if gamma is not None:
        y = y * spread(widen(gamma), x.ndim, channel_axis)
    if beta is not None:
        y = y + spread(widen(beta), x.ndim, channel_axis)
    return Normalized(y, x_hat, mean, var, inv_std, n)
