"""The activations that may follow, and their derivative read from the output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backnorm.reference._channels import widen

if TYPE_CHECKING:
    from backnorm._types import Activation, AnyArray, Float64Array

__all__ = ["activate", "activation_gradient"]

_SIX = 6.0


def activate(z: AnyArray, activation: Activation, negative_slope: float = 0.01) -> AnyArray:
    """Apply an activation: relu max(z, 0), relu6 min(max(z, 0), 6), leaky_relu z or slope*z.

    Eq. (28) of docs/mathematics.md. NaN stays NaN.

    Parameters
    ----------
    z
        What comes in; any shape, any float or complex format (the real part decides). [y]
    activation
        Which one; "identity" returns z.
    negative_slope
        Slope of leaky_relu below 0; no unit.

    Returns
    -------
    numpy.ndarray
        float64 or complex128; shape of z. [y]

    Raises
    ------
    KeyError
        If there is no such activation.

    Notes
    -----
    Source: docs/mathematics.md.

    Accuracy: exact, but for one rounding of slope*z (`tests/test_reference_activation.py`).

    Cost: one pass.

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm import reference
    >>> reference.activate(np.array([-4.0, 2.0]), "leaky_relu", 0.25).tolist()
    [-1.0, 2.0]
    """
    z = widen(z)
    # Written so that a comparison with NaN, which is false, leaves NaN as it is.
    results = {
        "identity": z,
        "relu": np.where(z.real < 0, 0, z),
        "relu6": np.where(z.real < 0, 0, np.where(z.real > _SIX, _SIX, z)),
        "leaky_relu": np.where(z.real < 0, negative_slope * z, z),
    }
    return results[activation]


def activation_gradient(
    y: AnyArray, activation: Activation, negative_slope: float = 0.01
) -> Float64Array:
    """Differentiate an activation, given its output: relu y > 0, relu6 0 < y < 6.

    Eq. (29) of docs/mathematics.md; leaky_relu 1 where y > 0, else the slope.

    Parameters
    ----------
    y
        What `activate` returned; any shape, any float or complex format. [y]
    activation
        Which one; "identity" has derivative 1.
    negative_slope
        Slope of leaky_relu below 0, greater than 0; no unit.

    Returns
    -------
    numpy.ndarray
        float64; shape of y. No unit.

    Raises
    ------
    KeyError
        If there is no such activation.

    Notes
    -----
    Source: docs/mathematics.md. At a kink, and for NaN, the value is the one below the kink
    (relu6 at 6: the one above).

    Accuracy: exact (`tests/test_reference_activation.py`).

    Cost: one pass.

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm import reference
    >>> reference.activation_gradient(np.array([0.0, 2.0, 6.0]), "relu6").tolist()
    [0.0, 1.0, 0.0]
    """
    real = widen(y).real
    results = {
        "identity": np.ones_like(real),
        "relu": np.where(real > 0, 1.0, 0.0),
        "relu6": np.where((real > 0) & (real < _SIX), 1.0, 0.0),
        "leaky_relu": np.where(real > 0, 1.0, negative_slope),
    }
    return results[activation]
