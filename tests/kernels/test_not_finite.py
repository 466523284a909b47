"""NaN and infinity stay in their channel."""

from __future__ import annotations

import numpy as np
import pytest

import backnorm as bn
from backnorm.testing.budget import assert_bits
from backnorm.testing.cases import ACTIVATIONS, KERNELS, LAYOUTS, THROUGHS, Batch, make

SHAPES = {
    "small planes": (5, 4, 3, 3),
    "large planes": (2, 4, 17, 16),
    "vectors": (70, 20),
    "many rows": (1300, 7),
    "folded": (1000, 3),
    "one tile and a tail": (5, 530),
}
VALUES = {"NaN": np.nan, "infinity": np.inf, "minus infinity": -np.inf}

by_kernel = pytest.mark.parametrize("kernel", KERNELS)
by_shape = pytest.mark.parametrize("shape", SHAPES)
by_value = pytest.mark.parametrize("value", VALUES)
by_order = pytest.mark.parametrize("order", ["contiguous", "channels last"])

BAD = 1
"""The channel with something in it that is no number."""


def spoilt(batch: Batch, name: str, value: str) -> Batch:
    """The same batch with one such value, not the first, in one array."""
    spoiled = batch.laid_out("contiguous")
    array = getattr(spoiled, name)
    array[array.shape[0] // 2, BAD] = VALUES[value]
    return spoiled


def others(values: np.ndarray | None) -> np.ndarray:
    """All channels but the bad one."""
    assert values is not None
    return np.delete(values, BAD, axis=min(1, values.ndim - 1))


def run(batch: Batch, order: str, kernel: str) -> tuple[bn.Forward, bn.Gradients]:
    """Forward and backward."""
    placed = batch.laid_out(order)
    fwd = bn.batch_norm(
        placed.x,
        batch.gamma,
        batch.beta,
        activation="relu",
        residual=placed.residual,
        kernel=kernel,
    )
    return fwd, bn.batch_norm_backward(placed.dy, fwd, kernel=kernel)


@by_kernel
@by_shape
@by_order
def test_in_x_it_stays_in_its_channel(kernel: str, shape: str, order: str) -> None:
    """That channel's y is NaN throughout; every other has the bits it had without."""
    clean = make(SHAPES[shape])
    want, want_g = run(clean, order, kernel)
    for value in VALUES:
        fwd, g = run(spoilt(clean, "x", value), order, kernel)
        assert np.isnan(fwd.y[:, BAD]).all()
        for name in ("y", "mean", "var", "inv_std"):
            assert_bits(others(getattr(fwd, name)), others(getattr(want, name)))
        for name in ("dx", "dgamma", "dbeta", "dresidual"):
            assert_bits(others(getattr(g, name)), others(getattr(want_g, name)))


@by_kernel
@by_shape
@by_order
def test_in_dy_it_stays_in_its_channel(kernel: str, shape: str, order: str) -> None:
    """That channel's dx is lost throughout; every other has the bits it had without."""
    clean = make(SHAPES[shape])
    placed = clean.laid_out(order)
    fwd = bn.batch_norm(placed.x, clean.gamma, clean.beta, kernel=kernel)
    want = bn.batch_norm_backward(placed.dy, fwd, kernel=kernel)
    for value in VALUES:
        spoiled = spoilt(clean, "dy", value).laid_out(order)
        g = bn.batch_norm_backward(spoiled.dy, fwd, kernel=kernel)
        assert not np.isfinite(g.dx[:, BAD]).any()
        assert not np.isfinite(g.dbeta[BAD])
        for name in ("dx", "dgamma", "dbeta"):
            assert_bits(others(getattr(g, name)), others(getattr(want, name)))


@by_kernel
@by_shape
@by_value
def test_with_frozen_statistics_it_stays_in_its_value(kernel: str, shape: str, value: str) -> None:
    """There is no sum that could spread it: y differs in that one value only."""
    clean = make(SHAPES[shape])
    spoiled = spoilt(clean, "x", value)
    frozen = clean.frozen("frozen")
    fwd = bn.batch_norm(spoiled.x, kernel=kernel, **frozen)
    want = bn.batch_norm(clean.x, kernel=kernel, **frozen)
    good = np.isfinite(spoiled.x)
    assert not np.isfinite(fwd.y[~good]).any()
    assert_bits(fwd.y[good], want.y[good])


@by_kernel
@pytest.mark.parametrize("through", THROUGHS)
def test_a_closed_relu_lets_nothing_through(kernel: str, through: str) -> None:
    """An infinite dy where relu is closed gives 0, not NaN: it is chosen, not multiplied."""
    batch = make((40, 3))
    fwd = bn.batch_norm(batch.x, activation="relu", kernel=kernel)
    spoiled = np.where(fwd.y > 0, batch.dy, np.float32(np.inf))
    zeroed = np.where(fwd.y > 0, batch.dy, np.float32(0))
    got = bn.batch_norm_backward(spoiled, fwd, through=through, kernel=kernel)
    want = bn.batch_norm_backward(zeroed, fwd, through=through, kernel=kernel)
    assert_bits(got.dx, want.dx)


@by_kernel
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_keep_nan(kernel: str, activation: str) -> None:
    """NaN is not taken for something below 0."""
    batch = spoilt(make((40, 3)), "x", "NaN")
    fwd = bn.batch_norm(batch.x, activation=activation, kernel=kernel)
    assert np.isnan(fwd.y[:, BAD]).all()


@by_kernel
@by_value
@pytest.mark.parametrize("name", ["gamma", "beta", "running_mean", "running_var"])
def test_in_a_parameter_it_stays_in_its_channel(kernel: str, name: str, value: str) -> None:
    """The same for what comes per channel."""
    if (name, value) == ("running_var", "minus infinity"):
        value = "infinity"  # a negative variance is refused
    batch = make((9, 4, 5))
    clean = {"gamma": batch.gamma, "beta": batch.beta, **batch.frozen("frozen")}
    spoiled = {key: array.copy() for key, array in clean.items()}
    spoiled[name][BAD] = VALUES[value]
    got = bn.batch_norm(batch.x, **spoiled, kernel=kernel)
    want = bn.batch_norm(batch.x, **clean, kernel=kernel)
    assert_bits(others(got.y), others(want.y))


@by_kernel
def test_no_eps_and_no_variance_is_nan(kernel: str) -> None:
    """0/0 in the one channel that is constant, silently; the others are as they would be."""
    batch = make((8, 3))
    batch.x[:, BAD] = 2.0
    fwd = bn.batch_norm(batch.x, eps=0.0, kernel=kernel)
    assert np.isinf(fwd.inv_std[BAD])
    assert np.isnan(fwd.y[:, BAD]).all()
    assert np.isfinite(others(fwd.y)).all()


@by_kernel
@by_order
def test_a_frozen_variance_of_zero_is_infinite(kernel: str, order: str) -> None:
    """Without eps (x - mean)/0: infinity of the right sign, NaN where x is the mean."""
    x = np.array([[1.0, 5.0], [2.0, 2.0], [3.0, 4.0]], "f4")[..., None]
    frozen = {"running_mean": [2.0, 2.0], "running_var": [0.0, 4.0]}
    fwd = bn.batch_norm(LAYOUTS[order](x), eps=0.0, kernel=kernel, **frozen)
    assert fwd.y[::2, 0, 0].tolist() == [-np.inf, np.inf]
    assert np.isnan(fwd.y[1, 0, 0])
    assert fwd.y[:, 1, 0].tolist() == [1.5, 0.0, 1.0]
