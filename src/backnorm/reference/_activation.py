"""The activations, and their derivatives as functions of the output."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from backnorm.reference._channels import widen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backnorm._types import Activation, AnyArray, Float64Array

__all__ = ["DEFINITIONS", "Definition", "activate", "activation_gradient"]


class Definition(NamedTuple):
    """An activation as a function of z and negative_slope, and its derivative as one of y and that.

    Both are written so that a comparison with NaN, which is false, leaves NaN as it is.
    """

    value: Callable[[AnyArray, float], AnyArray]
    derivative: Callable[[Float64Array, float], AnyArray]


DEFINITIONS: Mapping[str, Definition] = {
    "identity": Definition(lambda z, _: z, lambda y, _: np.ones_like(y)),
    "relu": Definition(
        lambda z, _: np.where(z.real < 0, 0, z), lambda y, _: np.where(y <= 0, 0.0, 1.0)
    ),
    "relu6": Definition(
        lambda z, _: np.where(z.real < 0, 0, np.where(z.real > 6, 6, z)),  # noqa: PLR2004
        lambda y, _: np.where((y > 0) & (y < 6), 1.0, 0.0),  # noqa: PLR2004
    ),
    "leaky_relu": Definition(
        lambda z, slope: np.where(z.real < 0, slope * z, z),
        lambda y, slope: np.where(y > 0, 1.0, slope),
    ),
}


def activate(z: AnyArray, activation: Activation, negative_slope: float = 0.01) -> AnyArray:
    """Apply an activation, for example relu: y = max(z, 0).

    Eq. (28) of docs/mathematics.md has them all. NaN stays NaN.

    Parameters
    ----------
    z
        Input; any shape, any float or complex dtype. The real part selects the branch. [y]
    activation
        Name of the activation; "identity" returns z.
    negative_slope
        Slope of leaky_relu for z < 0; no unit.

    Returns
    -------
    numpy.ndarray
        float64 or complex128; shape of z. [y]

    Raises
    ------
    KeyError
        If no activation has that name.

    Notes
    -----
    Source: docs/mathematics.md.

    Accuracy: exact, except for one rounding of slope*z (`tests/test_reference_activation.py`).

    Cost: one pass.

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm import reference
    >>> reference.activate(np.array([-4.0, 2.0]), "leaky_relu", 0.25).tolist()
    [-1.0, 2.0]
    """
    return DEFINITIONS[activation].value(widen(z), negative_slope)


def activation_gradient(
    y: AnyArray, activation: Activation, negative_slope: float = 0.01
) -> Float64Array:
    """Differentiate an activation, given its output, for example relu: 0 where y <= 0, else 1.

    Eq. (29) of docs/mathematics.md has them all.

    Parameters
    ----------
    y
        Result of `activate`; any shape, any float or complex dtype. [y]
    activation
        Name of the activation; "identity" has derivative 1.
    negative_slope
        Slope of leaky_relu for z < 0, greater than 0; no unit.

    Returns
    -------
    numpy.ndarray
        float64; shape of y. No unit.

    Raises
    ------
    KeyError
        If no activation has that name.

    Notes
    -----
    Source: docs/mathematics.md. At a kink, and for NaN, the value is that below the kink (relu6
    at 6: that above).

    Accuracy: exact (`tests/test_reference_activation.py`).

    Cost: one pass.

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm import reference
    >>> reference.activation_gradient(np.array([0.0, 2.0, 6.0]), "relu6").tolist()
    [0.0, 1.0, 0.0]
    """
    return DEFINITIONS[activation].derivative(widen(y).real, negative_slope)
