"""Parameters at addresses that no dtype asks for, and buffers whose values share memory."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import backnorm as bn
from backnorm.errors import RangeError
from backnorm.testing.budget import assert_bits
from backnorm.testing.cases import DTYPES, KERNELS, LAYOUTS, MODES, Batch, make

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import AnyArray

by_kernel = pytest.mark.parametrize("kernel", KERNELS)
by_order = pytest.mark.parametrize("order", ["contiguous", "channels last"])
by_dtype = pytest.mark.parametrize("dtype", DTYPES)

PARAMETERS = ("gamma", "beta", "running_mean", "running_var")
SHAPE = (4, 3, 5, 6)

unaligned = LAYOUTS["unaligned"]


def run(batch: Batch, kernel: str, mode: str) -> list[AnyArray]:
    """Call every public function with every per-channel array, and return what each gives."""
    fwd = bn.batch_norm(
        batch.x,
        batch.gamma,
        batch.beta,
        activation="leaky_relu",
        kernel=kernel,
        **batch.frozen(mode),
    )
    into = bn.Gradients(dgamma=np.zeros_like(batch.gamma), dbeta=np.zeros_like(batch.beta))
    if not batch.gamma.flags.aligned:
        into = bn.Gradients(dgamma=unaligned(into.dgamma), dbeta=unaligned(into.dbeta))
    g = bn.batch_norm_backward(batch.dy, fwd, dgamma="add", into=into, kernel=kernel)
    steps = {"gamma_tangent": batch.gamma, "beta_tangent": batch.beta}
    tangent = bn.batch_norm_jvp(batch.dy, fwd, **steps, kernel=kernel)
    outer = {"ddgamma": batch.gamma, "ddbeta": batch.beta}
    second = bn.batch_norm_double_backward(batch.x, batch.dy, fwd, **outer, kernel=kernel)
    return [fwd.y, g.dx, g.dgamma, g.dbeta, tangent, second.x, second.dy, second.gamma]


@by_kernel
@by_order
@by_dtype
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kept", ["dtype of x", "float64"])
def test_parameters_may_lie_at_odd_addresses(
    kernel: str, order: str, dtype: str, mode: str, kept: str
) -> None:
    """One byte after an aligned address, each of them and all: bitwise identical results."""
    batch = make(SHAPE, dtype).laid_out(order)
    if kept == "float64":
        batch = replace(batch, **{n: getattr(batch, n).astype("f8") for n in PARAMETERS})
    want = run(batch, kernel, mode)
    for names in (*((name,) for name in PARAMETERS), PARAMETERS):
        moved = replace(batch, **{name: unaligned(getattr(batch, name)) for name in names})
        assert not getattr(moved, names[0]).flags.aligned
        for got, same in zip(run(moved, kernel, mode), want, strict=True):
            assert_bits(got, same)


OVERLAPPING: dict[str, Callable[[AnyArray], AnyArray]] = {
    "one sample for all": lambda a: as_strided(a, a.shape, (0, *a.strides[1:])),
    "one channel for all": lambda a: as_strided(a, a.shape, (a.strides[0], 0, a.strides[2])),
    "one value for all": lambda a: as_strided(a, a.shape, (0, 0, 0)),
    "windows": lambda a: as_strided(a, a.shape, (a.strides[0], a.itemsize, a.itemsize)),
    "windows backwards": lambda a: OVERLAPPING["windows"](a)[:, ::-1],
    "half a value apart": lambda a: as_strided(a, a.shape, (*a.strides[:2], a.itemsize // 2)),
    "the last value on the next row": lambda a: as_strided(
        a, a.shape, (a.strides[0], a.strides[1] - a.itemsize, a.itemsize)
    ),
}
"""Buffers in the memory of an array of shape (N, C, L)."""

APART: dict[str, Callable[[AnyArray], AnyArray]] = {
    "with gaps": lambda a: np.zeros((a.shape[0], a.shape[1], 2 * a.shape[2]), a.dtype)[..., ::2],
    "backwards": lambda a: np.zeros_like(a)[::-1, :, ::-1],
    # Channels are 2 values apart, positions 18 and samples 60: samples begin before the ones before
    # them end, and yet no two values meet.
    "between each other": lambda a: as_strided(
        np.zeros(5 * a.size, a.dtype), a.shape, [step * a.itemsize for step in (60, 2, 18)]
    ),
}


def buffer(name: str, values: AnyArray) -> AnyArray:
    """Return one of OVERLAPPING or of APART for an array like this."""
    return (OVERLAPPING | APART)[name](np.zeros_like(values))


@by_kernel
@by_dtype
@pytest.mark.parametrize("strides", OVERLAPPING)
def test_outputs_that_overlap_themselves_are_refused(kernel: str, dtype: str, strides: str) -> None:
    """out, and each buffer of into with the shape of x."""
    batch = make((4, 3, 5), dtype)
    out = buffer(strides, batch.x)
    fwd = bn.batch_norm(batch.x, batch.gamma, residual=batch.residual, kernel=kernel)
    with refused("out", out):
        bn.batch_norm(batch.x, out=out, kernel=kernel)
    for name in ("dx", "dresidual"):
        into: Any = bn.Gradients(**{name: out})
        with refused(f"into.{name}", out):
            bn.batch_norm_backward(batch.dy, fwd, into=into, kernel=kernel)


@by_kernel
@by_dtype
@pytest.mark.parametrize("name", ["dgamma", "dbeta"])
def test_sums_that_overlap_themselves_are_refused(kernel: str, dtype: str, name: str) -> None:
    """One value for all channels, and values of which each begins within another."""
    batch = make((4, 3, 5), dtype)
    fwd = bn.batch_norm(batch.x, batch.gamma, batch.beta, kernel=kernel)
    for stride in (0, batch.x.itemsize // 2):
        sums = as_strided(np.zeros_like(batch.gamma), (3,), (stride,))
        into: Any = bn.Gradients(**{name: sums})
        with refused(f"into.{name}", sums):
            bn.batch_norm_backward(batch.dy, fwd, into=into, kernel=kernel)


@by_kernel
@by_dtype
@pytest.mark.parametrize("strides", APART)
def test_outputs_whose_values_lie_apart_are_filled(kernel: str, dtype: str, strides: str) -> None:
    """Whatever the order of the strides."""
    batch = make((4, 3, 5), dtype)
    out = buffer(strides, batch.x)
    want = bn.batch_norm(batch.x, kernel=kernel).y
    assert_bits(bn.batch_norm(batch.x, out=out, kernel=kernel).y.copy(), want)


@pytest.mark.parametrize("seed", range(200))
def test_what_overlaps_is_told_from_the_positions_of_all_values(seed: int) -> None:
    """Any strides of three axes: refused if two values share a byte, and only then."""
    rng = np.random.default_rng(seed)
    shape, strides = rng.integers(1, 5, 3), rng.integers(-30, 31, 3)
    memory = np.zeros(2000, np.uint8)[1000:]
    places = [int(np.dot(index, strides)) for index in np.ndindex(*shape)]
    taken = [place + byte for place in places for byte in range(4)]
    out = as_strided(memory.view("f4"), shape, strides)
    x = np.ones(shape, "f4")
    if len(set(taken)) < len(taken):
        with refused("out", out):
            bn.batch_norm(x, beta=np.ones(shape[1], "f4"), out=out)
    else:
        bn.batch_norm(x, beta=np.ones(shape[1], "f4"), out=out)
        assert (out == 1).all()


def refused(name: str, array: AnyArray) -> Any:
    """Expect the error of an output that overlaps itself."""
    message = str(RangeError.overlap_with_itself(name, array.strides))
    return pytest.raises(RangeError, match=f"^{re.escape(message)}$")
