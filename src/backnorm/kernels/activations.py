"""The activations: one table, from which all that depends on their names is derived.

`Activation` in `_types.py` has the same names, and the C++ part the same names, codes and
invertibility (`BACKNORM_ACTIVATIONS` in `_native/call.hpp`); tests/kernels/test_activations.py
compares them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import numpy as np

from backnorm.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import AnyArray, Float64Array

__all__ = ["ACTIVATIONS", "INVERTIBLE", "NAMES", "ActivationInfo", "ByActivation"]

T = TypeVar("T")


class ByActivation(dict[str, T]):
    """A table with an entry for each activation; a look-up of an unknown name raises."""

    def __missing__(self, name: object) -> T:
        """Raise UnknownNameError."""
        raise UnknownNameError.choice("activation", name, tuple(self))


class ActivationInfo(NamedTuple):
    """What the engine knows about an activation.

    Attributes
    ----------
    code
        Its number in the C++ part.
    apply
        The NumPy kernel's y of z and negative_slope; it may overwrite z. NaN stays NaN.
    grad_through
        The NumPy kernel's gradient with respect to z, of dy, y and negative_slope. Where the
        derivative is 0 the result is 0, also for an infinite dy: it is selected, not multiplied.
    invertible
        Whether z can be computed from y, so that y may take the memory of x.
    has_slope
        Whether it depends on negative_slope.
    """

    code: int
    apply: Callable[[Float64Array, float], Float64Array]
    grad_through: Callable[[Float64Array, AnyArray, float], Float64Array]
    invertible: bool = False
    has_slope: bool = False


def _relu(z: Float64Array, _: float) -> Float64Array:
    z[z < 0] = 0.0
    return z


def _grad_through_relu(dy: Float64Array, y: AnyArray, _: float) -> Float64Array:
    return np.where(y <= 0, 0.0, dy)  # NaN lets dy through, as in PyTorch


def _relu6(z: Float64Array, slope: float) -> Float64Array:
    z = _relu(z, slope)
    z[z > 6.0] = 6.0  # noqa: PLR2004 - the 6 of its name
    return z


def _grad_through_relu6(dy: Float64Array, y: AnyArray, _: float) -> Float64Array:
    return np.where((y > 0) & (y < np.asarray(6.0, y.dtype)), dy, 0.0)


def _leaky_relu(z: Float64Array, slope: float) -> Float64Array:
    np.multiply(z, slope, out=z, where=z < 0)
    return z


def _grad_through_leaky_relu(dy: Float64Array, y: AnyArray, slope: float) -> Float64Array:
    return np.where(y > 0, dy, dy * slope)


ACTIVATIONS: Final = ByActivation(
    {
        "identity": ActivationInfo(0, lambda z, _: z, lambda dy, _y, _: dy, invertible=True),
        "relu": ActivationInfo(1, _relu, _grad_through_relu),
        "relu6": ActivationInfo(2, _relu6, _grad_through_relu6),
        "leaky_relu": ActivationInfo(
            3, _leaky_relu, _grad_through_leaky_relu, invertible=True, has_slope=True
        ),
    }
)

NAMES: Final = tuple(ACTIVATIONS)

INVERTIBLE: Final = tuple(name for name, info in ACTIVATIONS.items() if info.invertible)
"""Those whose y may take the memory of x."""
