"""The reference's weighted statistics and gradient: against Fractions and the complex step."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backnorm import reference
from oracles.tolerance import assert_close

if TYPE_CHECKING:
    from backnorm._types import AnyArray

STEP = 1e-30
"""Of the complex step."""


def data() -> dict[str, AnyArray]:
    """Seeded x, dy of shape (3, 2, 4), weights greater than 0, gamma and beta."""
    rng = np.random.default_rng(3)
    x, dy = rng.normal(1.0, 2.0, (2, 3, 2, 4))
    w = rng.uniform(0.1, 3.0, (3, 4))
    return {"x": x, "dy": dy, "w": w, "gamma": np.array([1.5, -0.5]), "beta": np.array([0.5, 1.0])}


def test_statistics_are_those_of_fractions() -> None:
    """Mean and variance of each channel, with no rounding in the oracle."""
    given = data()
    fwd = reference.weighted_forward(given["x"], given["w"])
    weights = [Fraction(float(v)) for v in given["w"].ravel()]
    for channel in range(2):
        values = [Fraction(float(v)) for v in given["x"][:, channel].ravel()]
        mean = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
        squares = (w * (v - mean) ** 2 for w, v in zip(weights, values, strict=True))
        var = sum(squares) / sum(weights)
        assert_close(fwd.mean[channel], np.float64(mean), scale=1.0)
        assert_close(fwd.var[channel], np.float64(var), scale=1.0)


def test_equal_weights_are_none() -> None:
    """With equal weights the results are those without weights."""
    given = data()
    x, dy, gamma = given["x"], given["dy"], given["gamma"]
    w = np.full((3, 4), 0.3)
    got, want = reference.weighted_forward(x, w, gamma), reference.forward(x, gamma)
    assert_close(got.y, want.y, scale=3.0)
    assert got.n == want.n
    g: Any = reference.weighted_backward(dy, x, w, gamma)
    assert_close(g.dx, reference.backward(dy, x, gamma).dx, scale=3.0)


@pytest.mark.parametrize("name", ["x", "w", "gamma", "beta"])
def test_gradient_is_the_complex_step(name: str) -> None:
    """By x, the weights, gamma and beta."""
    given = data()

    def loss(arrays: dict[str, AnyArray]) -> complex:
        fwd = reference.weighted_forward(
            arrays["x"], arrays["w"], arrays["gamma"], arrays["beta"], eps=0.1
        )
        return (given["dy"] * fwd.y).sum()

    want = np.empty(given[name].shape)
    for at in np.ndindex(want.shape):
        moved = given[name].astype(complex)
        moved[at] += 1j * STEP
        want[at] = loss({**given, name: moved}).imag / STEP
    g = reference.weighted_backward(given["dy"], given["x"], given["w"], given["gamma"], eps=0.1)
    found = {"x": g.dx, "w": g.dmask, "gamma": g.dgamma, "beta": g.dbeta}
    assert_close(found[name], want, scale=10.0)


def test_only_ratios_count() -> None:
    """The gradient by the weights is orthogonal to them, since their size changes nothing."""
    given = data()
    g: Any = reference.weighted_backward(given["dy"], given["x"], given["w"], given["gamma"])
    assert_close((g.dmask * given["w"]).sum(), np.float64(0.0), scale=10.0)


@pytest.mark.parametrize("through", ["mean", "variance", "none"])
def test_cut_paths(through: Any) -> None:
    """With equal weights dx is that of `backward` with the same path; dmask has the same paths."""
    given = data()
    x, dy, gamma, w = given["x"], given["dy"], given["gamma"], np.ones((3, 4))
    parts = {
        name: reference.weighted_backward(dy, x, w, gamma, through=name)
        for name in ("both", "mean", "variance", "none")
    }
    want: Any = reference.backward(dy, x, gamma, through=through).dx
    found: Any = parts[through].dx
    assert_close(found, want, scale=3.0)
    masks: dict[str, Any] = {name: part.dmask for name, part in parts.items()}
    assert not masks["none"].any()
    assert_close(masks["mean"] + masks["variance"], masks["both"], scale=10.0)
