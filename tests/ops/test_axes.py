"""The channel axis may be any, and empty arrays are arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backnorm as bn
from backnorm.errors import ShapeError
from backnorm.testing.budget import assert_bits, assert_within_budget
from backnorm.testing.cases import DTYPES, KERNELS, LAYOUTS, dtype_of, make

by_kernel = pytest.mark.parametrize("kernel", KERNELS)
by_dtype = pytest.mark.parametrize("dtype", DTYPES)

SHAPES = {"one": (5,), "two": (4, 3), "three": (4, 3, 5), "four": (4, 3, 2, 5)}
AXES = [(name, axis) for name, s in SHAPES.items() for axis in range(-len(s), len(s))]


@by_kernel
@pytest.mark.parametrize(("name", "axis"), AXES)
def test_any_axis_may_hold_the_channels(kernel: str, name: str, axis: int) -> None:
    """The result is that for the same array with its channels moved to axis 1, moved back."""
    shape = SHAPES[name]
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((2, *shape)).astype("f4") + np.float32(2)
    gamma, beta = rng.standard_normal((2, shape[axis])).astype("f4")
    fwd = bn.batch_norm(x, gamma, beta, channel_axis=axis, kernel=kernel)
    g = bn.batch_norm_backward(dy, fwd, kernel=kernel)

    def usual(array: Any) -> Any:
        return np.moveaxis(array, axis, 0)[None].reshape(1, shape[axis], -1).copy()

    want = bn.batch_norm(usual(x), gamma, beta, kernel=kernel)
    want_g = bn.batch_norm_backward(usual(dy), want, kernel=kernel)
    d = np.abs(gamma * fwd.inv_std) * np.abs(dy).max()
    assert_within_budget(usual(fwd.y), want.y.astype("f8"), channel_axis=1)
    assert_within_budget(usual(g.dx), want_g.dx.astype("f8"), channel_axis=1, scale=d)
    assert_within_budget(g.dgamma, want_g.dgamma.astype("f8"), scale=np.abs(dy).sum())


@by_kernel
@pytest.mark.parametrize("layout", LAYOUTS)
def test_negative_axes_count_from_the_end(kernel: str, layout: str) -> None:
    """channel_axis=-3 of four is 1."""
    batch = make((4, 3, 2, 5)).laid_out(layout)
    one, other = (
        bn.batch_norm(batch.x, batch.gamma, channel_axis=axis, kernel=kernel) for axis in (1, -3)
    )
    assert_bits(one.y, other.y)
    for fwd in (one, other):
        assert fwd.saved.channel_axis == 1


@by_kernel
@by_dtype
@pytest.mark.parametrize("shape", [(0, 3), (2, 3, 0), (0, 3, 0, 4)])
def test_frozen_statistics_take_an_empty_batch(
    kernel: str, dtype: str, shape: tuple[int, ...]
) -> None:
    """Nothing comes out, and the sums over nothing are 0."""
    x = np.empty(shape, dtype_of(dtype))
    one = np.ones(3, x.dtype)
    fwd = bn.batch_norm(x, one, one, running_mean=one, running_var=one, kernel=kernel)
    g = bn.batch_norm_backward(x, fwd, kernel=kernel)
    second = bn.batch_norm_double_backward(x, x, fwd, kernel=kernel)
    tangent = bn.batch_norm_jvp(x, fwd, kernel=kernel)
    for result in (fwd.y, g.dx, tangent, second.x, second.dy):
        assert_bits(result, x)
    assert g.dgamma.tolist() == g.dbeta.tolist() == second.gamma.tolist() == [0.0] * 3
    assert fwd.n == 0


@by_kernel
@by_dtype
@pytest.mark.parametrize("shape", [(4, 0), (2, 0, 3, 5), (0, 0)])
@pytest.mark.parametrize("frozen", [False, True])
def test_no_channels_are_no_work(
    kernel: str, dtype: str, shape: tuple[int, ...], *, frozen: bool
) -> None:
    """C = 0: there is no channel that could lack a value."""
    x = np.empty(shape, dtype_of(dtype))
    none = np.empty(0, x.dtype)
    running: Any = {"running_mean": none, "running_var": none} if frozen else {}
    if shape == (0, 0) and not frozen:
        with pytest.raises(ShapeError, match=r"^x must have at least one value per channel"):
            bn.batch_norm(x)
        return
    fwd = bn.batch_norm(x, none, none, kernel=kernel, **running)
    g = bn.batch_norm_backward(x, fwd, kernel=kernel)
    assert_bits(fwd.y, x)
    assert_bits(g.dx, x)
    assert (fwd.mean.size, g.dgamma.size, g.dbeta.size) == (0, 0, 0)


@pytest.mark.parametrize("shape", [(0, 3), (2, 3, 0)])
def test_an_empty_batch_has_no_statistics(shape: tuple[int, ...]) -> None:
    """n = 0 raises, with what to do instead."""
    with pytest.raises(ShapeError, match=r"Skip empty batches, or pass running_mean"):
        bn.batch_norm(np.empty(shape, "f4"))
