"""A mask: bitwise the results of what counts, gathered; 0 elsewhere, whatever is hidden there."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import backnorm as bn
from backnorm.errors import DtypeError, ShapeError
from backnorm.testing.budget import assert_bits
from backnorm.testing.cases import DTYPES, KERNELS, dtype_of

if TYPE_CHECKING:
    from backnorm._types import AnyArray

SHAPES = {1: (4, 3, 5, 6), -1: (4, 5, 6, 3)}
C = 3
HIDDEN = (np.nan, np.inf, 1e38)

by_kernel = pytest.mark.parametrize("kernel", KERNELS)
by_dtype = pytest.mark.parametrize("dtype", DTYPES)
by_law = pytest.mark.parametrize("sums", ["float64", "exact"])
by_axis = pytest.mark.parametrize("axis", [1, -1])
MODES = [("batch", "identity"), ("batch", "leaky_relu"), ("frozen", "relu")]
by_mode = pytest.mark.parametrize("mode", MODES, ids="-".join)


def count(mask: AnyArray, axis: int, *arrays: AnyArray) -> list[AnyArray]:
    """Each array as (count, C): the definition of a masked call."""
    return [np.ascontiguousarray(np.moveaxis(a, axis, -1)[mask]) for a in arrays]


def batch(dtype: str, axis: int) -> tuple[AnyArray, ...]:
    """Seeded x, residual, dy and ddx, and a mask that hides a third and one whole sample."""
    rng = np.random.default_rng(7)
    arrays = rng.normal(3.0, 2.0, (4, *SHAPES[axis]))
    mask = rng.random((4, 5, 6)) < 2 / 3
    mask[1] = False
    return (*arrays.astype(dtype_of(dtype)), mask)


def hide(mask: AnyArray, axis: int, value: float, *arrays: AnyArray) -> list[AnyArray]:
    """Copies of the arrays with a value where nothing counts."""
    copies = [array.copy() for array in arrays]
    for copy in copies:
        with np.errstate(over="ignore"):
            np.moveaxis(copy, axis, -1)[~mask] = value
    return copies


def options_of(mode: str) -> dict[str, Any]:
    """The parameters, and frozen statistics."""
    frozen = {"running_mean": np.ones(C), "running_var": np.array([1.0, 4.0, 2.0])}
    return {
        "gamma": np.array([1.5, -0.5, 2.0]),
        "beta": np.array([0.5, 0.0, -1.0]),
        "eps": 1e-3,
        **(frozen if mode == "frozen" else {}),
    }


def every(fwd: Any, dy: AnyArray, ddx: AnyArray, kernel: str) -> dict[str, Any]:
    """Every result of every public function for one forward pass."""
    steps: dict[str, Any] = {"residual_tangent": dy, "gamma_tangent": np.ones(C)}
    g: Any = bn.batch_norm_backward(dy, fwd, kernel=kernel)
    second: Any = bn.batch_norm_double_backward(
        ddx, dy, fwd, ddgamma=np.ones(C), ddresidual=ddx, kernel=kernel
    )
    return {
        "y": fwd.y,
        "dx": g.dx,
        "dresidual": g.dresidual,
        "tangent": bn.batch_norm_jvp(ddx, fwd, kernel=kernel, **steps),
        "second x": second.x,
        "second dy": second.dy,
    } | {"per channel": np.stack([fwd.mean, fwd.var, fwd.inv_std, g.dgamma, g.dbeta, second.gamma])}


@by_kernel
@by_dtype
@by_law
@by_axis
@by_mode
def test_bits_are_those_of_the_gathered_values(
    kernel: str, dtype: str, sums: Any, axis: int, mode: Any
) -> None:
    """Every result, in each dtype, law, layout and mode; 0 elsewhere; NaN, inf and 1e38 unseen."""
    *arrays, mask = batch(dtype, axis)
    options = {**options_of(mode[0]), "activation": mode[1], "sums": sums, "kernel": kernel}
    x, residual, dy, ddx = count(mask, axis, *arrays)
    want = every(bn.batch_norm(x, residual=residual, **options), dy, ddx, kernel)
    for value in HIDDEN:
        x, residual, dy, ddx = hide(mask, axis, value, *arrays)
        fwd = bn.batch_norm(x, residual=residual, channel_axis=axis, mask=mask, **options)
        assert fwd.n == mask.sum()
        got = every(fwd, dy, ddx, kernel)
        for name, full in got.items():
            if name == "per channel":
                assert_bits(full, want[name])
                continue
            assert full.shape == x.shape
            assert full.dtype == x.dtype
            assert_bits(count(mask, axis, full)[0], want[name])
            assert not count(~mask, axis, full)[0].any()


@by_axis
def test_buffers(axis: int) -> None:
    """out and into are written, with 0 where nothing counts; "add" leaves the buffer there."""
    x, residual, dy, _, mask = batch("float32", axis)
    out = np.full_like(x, 9.0)
    options = options_of("batch")
    fwd = bn.batch_norm(x, residual=residual, channel_axis=axis, mask=mask, out=out, **options)
    assert fwd.y is out
    assert not count(~mask, axis, out)[0].any()
    into: Any = bn.Gradients(np.ones_like(x), np.ones(C), np.ones(C), np.full_like(x, 9.0))
    g: Any = bn.batch_norm_backward(
        dy,
        fwd,
        dx="add",
        dgamma="add",
        dbeta="null",
        into=bn.Gradients(into.dx, into.dgamma, None, into.dresidual),
    )
    plain: Any = bn.batch_norm_backward(dy, fwd)
    assert g.dx is into.dx
    assert g.dbeta is None
    assert (count(~mask, axis, g.dx)[0] == 1).all()
    assert np.abs(g.dx - plain.dx - 1).max() < 1e-6
    assert np.abs(g.dgamma - plain.dgamma - 1).max() < 1e-6
    assert_bits(into.dresidual, plain.dresidual)
    assert bn.batch_norm_backward(dy, fwd, dx="null").dx is None


def test_the_mask_is_kept_as_it_was() -> None:
    """A mask that changes after the forward pass changes no gradient."""
    x, _, dy, _, mask = batch("float64", 1)
    want: Any = bn.batch_norm_backward(dy, bn.batch_norm(x, mask=mask)).dx
    fwd = bn.batch_norm(x, mask=mask)
    mask[:] = True
    got: Any = bn.batch_norm_backward(dy, fwd).dx
    assert_bits(got, want)


def test_nothing_counts() -> None:
    """As an empty batch: an error, or zeros with frozen statistics."""
    x, mask = np.full((2, C, 4), np.nan), np.zeros((2, 4), bool)
    with pytest.raises(ShapeError, match="let at least one position count, got False or 0"):
        bn.batch_norm(x, mask=mask)
    fwd = bn.batch_norm(x, np.ones(C), mask=mask, running_mean=np.ones(C), running_var=np.ones(C))
    g: Any = bn.batch_norm_backward(x, fwd)
    assert fwd.n == 0
    assert not fwd.y.any()
    assert not g.dx.any()
    assert not g.dgamma.any()


def test_refusals() -> None:
    """Another shape, another dtype."""
    x = np.ones((2, C, 4))
    with pytest.raises(ShapeError, match=r"mask must have shape \(2, 4\), that of x without"):
        bn.batch_norm(x, mask=np.ones((2, C, 4), bool))
    with pytest.raises(DtypeError, match="mask must have dtype bool, or a float"):
        bn.batch_norm(x, mask=np.ones((2, 4), int))


def test_a_result_shows_itself() -> None:
    """A masked result has the line of a result."""
    fwd = bn.batch_norm(np.ones((2, C, 4)), mask=np.ones((2, 4), bool))
    assert "Forward" in repr(fwd)
    assert str(fwd)


def test_the_copied_masked_norm() -> None:
    """A masked norm that many projects copy takes E[x^2] - E[x]^2 in float32; ours is the truth.

    At mean/std 1e4 its variance of sequences with variance 1 is 0, 24 or negative.
    """
    for seed in range(6):
        x, mask = padded(seed)
        weights = (mask / mask.sum()).astype(np.float32)[:, None]
        mean = (weights * x).sum((0, 2), dtype=np.float32)
        theirs = (weights * x**2).sum((0, 2), dtype=np.float32) - mean**2
        values = [Fraction(float(value)) for value in x[:, 0][mask]]
        center = sum(values) / len(values)
        true = float(sum((value - center) ** 2 for value in values) / len(values))
        assert abs(theirs[0] - true) > 0.5
        fwd = bn.batch_norm(x, mask=mask)
        assert abs(fwd.var[0] - true) < 1e-6


def padded(seed: int) -> tuple[AnyArray, AnyArray]:
    """Sequences of unequal lengths with mean 1e4 and standard deviation 1, padded with 0."""
    rng = np.random.default_rng(seed)
    mask = np.arange(50) < rng.integers(5, 50, 8)[:, None]
    x = np.where(mask[:, None], rng.normal(1e4, 1.0, (8, 1, 50)), 0.0)
    return x.astype(np.float32), mask
