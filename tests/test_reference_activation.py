"""The reference's activations and their derivatives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm import reference
from backnorm.kernels.activations import ACTIVATIONS
from oracles.activations import DERIVATIVES, OUTPUTS, SLOPE, Z

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import AnyArray

by_activation = pytest.mark.parametrize("activation", OUTPUTS)


def test_every_activation_has_values_and_formulas() -> None:
    """The hand-picked values, and both formulas of the page, cover the table of the kernels."""
    assert OUTPUTS.keys() == DERIVATIVES.keys() == ACTIVATIONS.keys()
    page = (Path(__file__).parent.parent / "docs" / "mathematics.md").read_text()
    formulas = page.partition("## Activations")[2].partition(r"\tag{29}")[0]
    said = re.findall(r"\\text\{([a-z0-9 ]+)(?=[:}])", formulas)
    counts = {name: said.count(name.replace("_", " ")) for name in ACTIVATIONS}
    assert counts == {name: 0 if name == "identity" else 2 for name in ACTIVATIONS}


@by_activation
def test_output_at_hand_picked_values(activation: str) -> None:
    """Below, at and above each kink the output is the one that the definition gives."""
    assert reference.activate(np.array(Z), activation, SLOPE).tolist() == OUTPUTS[activation]


@by_activation
def test_gradient_at_hand_picked_values(activation: str) -> None:
    """The derivative, read from the output, is the one of the branch that z was in."""
    y = reference.activate(np.array(Z), activation, SLOPE)
    assert reference.activation_gradient(y, activation, SLOPE).tolist() == DERIVATIVES[activation]


@by_activation
def test_gradient_is_the_complex_step(activation: str) -> None:
    """Away from the kinks the derivative is the imaginary part at z + 1e-30j."""
    z = np.array([-8.0, -1.5, 2.0, 5.0, 9.0])
    moved = reference.activate(z + 1e-30j, activation, SLOPE)
    got = reference.activation_gradient(moved, activation, SLOPE)
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
