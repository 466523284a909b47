"""The reference's activations and their derivatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm import reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import AnyArray

Z = np.array([-8.0, -0.0, 0.0, 2.0, 6.0, 7.0])

OUTPUTS = {
    "identity": [-8.0, 0.0, 0.0, 2.0, 6.0, 7.0],
    "relu": [0.0, 0.0, 0.0, 2.0, 6.0, 7.0],
    "relu6": [0.0, 0.0, 0.0, 2.0, 6.0, 6.0],
    "leaky_relu": [-2.0, 0.0, 0.0, 2.0, 6.0, 7.0],
}
SLOPES = {
    "identity": [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    "relu": [0.0, 0.0, 0.0, 1.0, 1.0, 1.0],
    "relu6": [0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
    "leaky_relu": [0.25, 0.25, 0.25, 1.0, 1.0, 1.0],
}
by_activation = pytest.mark.parametrize("activation", OUTPUTS)


@by_activation
def test_output_at_hand_picked_values(activation: str) -> None:
    """Below, at and above each kink the output is the one that the definition gives."""
    assert reference.activate(Z, activation, 0.25).tolist() == OUTPUTS[activation]


@by_activation
def test_gradient_at_hand_picked_values(activation: str) -> None:
    """The derivative, read from the output, is the one of the branch that z was in."""
    y = reference.activate(Z, activation, 0.25)
    assert reference.activation_gradient(y, activation, 0.25).tolist() == SLOPES[activation]


@by_activation
def test_gradient_is_the_complex_step(activation: str) -> None:
    """Away from the kinks the derivative is the imaginary part at z + 1e-30j."""
    z = np.array([-8.0, -1.0, 2.0, 5.0, 9.0])
    moved = reference.activate(z + 1e-30j, activation, 0.25)
    got = reference.activation_gradient(moved, activation, 0.25)
    assert got.tolist() == (moved.imag / 1e-30).tolist()


@by_activation
def test_nan_stays_nan(activation: str) -> None:
    """An activation hides no NaN."""
    assert np.isnan(reference.activate(np.array([np.nan]), activation)).all()


def test_slope_of_a_hundredth_is_the_default() -> None:
    """Without a slope, leaky_relu uses 0.01 in both functions."""
    z = np.array([-1.0])
    assert reference.activate(z, "leaky_relu").tolist() == [-0.01]
    assert reference.activation_gradient(z, "leaky_relu").tolist() == [0.01]


@pytest.mark.parametrize("function", [reference.activate, reference.activation_gradient])
def test_unknown_activation_is_a_key_error(function: Callable[..., AnyArray]) -> None:
    """A name that is not there raises, and names itself."""
    with pytest.raises(KeyError, match="tanh"):
        function(Z, "tanh")
