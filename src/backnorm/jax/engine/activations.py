"""The activations in jax.numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from jax import numpy as jnp

from backnorm.kernels.activations import ByActivation

if TYPE_CHECKING:
    from collections.abc import Callable

    import jax

__all__ = ["ACTIVATIONS", "JaxActivation"]


class JaxActivation(NamedTuple):
    """An activation where the kernels do not compute it.

    Attributes
    ----------
    apply
        y of z and negative_slope. NaN stays NaN.
    grad_through
        The gradient with respect to z, of that with respect to y, of y and negative_slope. Where
        the derivative is 0 the result is 0: it is selected, not multiplied.
    """

    apply: Callable[[jax.Array, float], jax.Array]
    grad_through: Callable[[jax.Array, jax.Array, float], jax.Array]


ACTIVATIONS: Final = ByActivation(
    {
        "identity": JaxActivation(lambda z, _: z, lambda dy, _y, _: dy),
        "relu": JaxActivation(
            lambda z, _: jnp.where(z < 0, 0, z), lambda dy, y, _: jnp.where(y <= 0, 0, dy)
        ),
        "relu6": JaxActivation(
            lambda z, _: jnp.where(z < 0, 0, jnp.where(z > 6, 6, z)),  # noqa: PLR2004 - its name
            lambda dy, y, _: jnp.where((y > 0) & (y < 6), dy, 0),  # noqa: PLR2004 - the same
        ),
        "leaky_relu": JaxActivation(
            lambda z, slope: jnp.where(z < 0, z * slope, z),
            lambda dy, y, slope: jnp.where(y > 0, dy, dy * slope),
        ),
    }
)
