"""The lab's numbers: exact, equal to the engine's, and measured by differences."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import backnorm as bn
from backnorm.errors import RangeError, ShapeError
from backnorm.lab.arithmetic import SmallBatch, forms, held, slope, terms, wrong_by
from backnorm.testing.budget import DIFFERENCES
from oracles import exact
from oracles.tolerance import assert_close, largest

BATCHES = {
    "four": ([1.0, 2.0, 4.0, 8.0], [1.0, 0.0, 0.0, 0.0], 1e-5),
    "two": ([1.0, 3.0], [1.0, 0.0], 1e-5),
    "without eps": ([0.5, -1.25, 3.0], [0.25, -2.0, 1.5], 0.0),
    "large eps": ([0.5, -1.25, 3.0, 3.0], [0.25, -2.0, 1.5, 0.0], 2.0),
    "equal": ([5.0, 5.0, 5.0], [1.0, 0.0, -3.0], 0.5),
    "one": ([7.0], [2.0], 1e-3),
}


@pytest.fixture(name="batch", params=BATCHES)
def _batch(request: pytest.FixtureRequest) -> SmallBatch:
    return terms(*BATCHES[request.param])


def condition(batch: SmallBatch) -> float:
    """How much a rounding error of x grows in x - mean."""
    return float(np.sqrt(1 + batch.mean**2 / (batch.var + batch.eps)))


def test_terms_are_exact(batch: SmallBatch) -> None:
    """D, M and V are what dual numbers leave out if a statistic is cut."""
    none, mean, variance, both = (
        exact.backward(batch.dy[:, None], batch.x[:, None], eps=batch.eps, through=through).dx[:, 0]
        for through in ("none", "mean", "variance", "both")
    )
    options = {"condition": condition(batch), "scale": largest(batch.direct)}
    assert_close(batch.direct, none, **options)
    assert_close(batch.through_mean, mean - none, **options)
    assert_close(batch.through_variance, variance - none, **options)
    assert_close(batch.dx, both, **options)


def test_terms_are_the_fractions_of_the_formulas() -> None:
    """With a standard deviation of 3, every term is a fraction with the denominator 12."""
    x, dy = (2, 2, 8, 8), (1, 0, 5, -2)
    d = [Fraction(value, 3) for value in dy]
    x_hat = [Fraction(value - 5, 3) for value in x]
    product = sum(a * b for a, b in zip(d, x_hat, strict=True)) / 4
    batch = terms(x, dy, eps=0.0)
    expected = (d, [-sum(d) / 4] * 4, [-value * product for value in x_hat])
    computed = (batch.direct, batch.through_mean, batch.through_variance)
    for ours, fractions in zip(computed, expected, strict=True):
        assert_close(ours, np.array([float(value) for value in fractions]))


def test_the_slope_is_the_gradient(batch: SmallBatch) -> None:
    """Finite differences of y agree with dx; the formulas of the gradient take no part in them."""
    error = np.abs(slope(batch) - batch.dx).max()
    assert error <= DIFFERENCES * np.abs(batch.direct).max()


def test_held_statistics_give_the_engines_gradients(batch: SmallBatch) -> None:
    """To hold the mean is `through="variance"`, and so on."""
    x, dy = batch.x[:, None], batch.dy[:, None]
    fwd = bn.batch_norm(x, eps=batch.eps)
    scale = {"condition": condition(batch), "scale": largest(batch.direct)}
    through = {"mean": "variance", "variance": "mean", "both": "none"}
    wrong = held(batch)
    assert wrong.keys() == through.keys()
    for name, left in through.items():
        engine = bn.batch_norm_backward(dy, fwd, through=left)
        assert engine.dx is not None
        assert_close(wrong[name], engine.dx[:, 0], **scale)


def test_the_frameworks_forms_are_equal(batch: SmallBatch) -> None:
    """Caffe from y, MXNet from x: dx; added to 1: 1 + dx; global statistics: D."""
    scale = {"condition": condition(batch), "scale": max(largest(batch.direct), 1.0)}
    result = forms(batch)
    assert_close(result.caffe, batch.dx, **scale)
    assert_close(result.mxnet, batch.dx, **scale)
    assert_close(result.mxnet_added, 1 + batch.dx, **scale)
    assert_close(result.mxnet_global, batch.direct, **scale)
    assert result.null_leaves_out


def test_an_error_is_relative_to_the_largest_gradient() -> None:
    """It is infinite if the right gradient is 0, unless the other is 0 too."""
    zero, one = np.zeros(2), np.array([1.0, -2.0])
    assert wrong_by(np.array([1.0, -1.0]), one) == 0.5
    assert wrong_by(one, zero) == np.inf
    assert wrong_by(zero, zero) == 0


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([], []), ShapeError, "x must have at least one value per channel"),
        (([1.0, 2.0], [1.0]), ShapeError, r"dy must have the shape of x, \(2,\), got \(1,\)"),
        (([1.0, np.nan], [1.0, 0.0]), RangeError, "x must hold finite numbers, got nan"),
        (([1.0, 2.0], [1.0, np.inf]), RangeError, "dy must hold finite numbers, got inf"),
        (([1e-200, 2e-200], [1.0, 0.0], 0.0), RangeError, "The square .* underflows in float64"),
        (([1.0, 2.0], [1.0, -1e101]), RangeError, r"dy must hold numbers .* got -1e\+101"),
        (([1.0, 2.0], [1.0, 0.0], -1.0), RangeError, "eps must be a finite number"),
        (([2.0, 2.0], [1.0, 0.0], 0.0), RangeError, "two different values .* 2 equal values"),
        (([2.0], [1.0], 0.0), RangeError, "two different values .* got one value"),
    ],
)
def test_what_has_no_gradient_is_refused(
    arguments: tuple[list[float], ...], error: type[Exception], words: str
) -> None:
    """Each with its reason."""
    with pytest.raises(error, match=words):
        terms(*arguments)
