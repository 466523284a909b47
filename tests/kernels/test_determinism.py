"""Same input, same bits: for any number of threads, any alignment, any run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

import backnorm as bn
from backnorm.testing.budget import assert_bits
from backnorm.testing.cases import DTYPES, KERNELS, LEVELS, Batch, make

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm._types import AnyArray

SHAPES = {
    "planes": (5, 9, 40, 31),
    "one channel in parts": (2, 1, 35001),
    "small planes": (40, 30, 7, 7),
    "small planes in parts": (600, 4, 7, 5),
    "few rows": (70, 1100),
    "rows in parts": (1501, 50),
    "folded": (20000, 3),
}

STREAMED = {"planes": (2, 2, 1024, 520), "rows": (1032, 2048), "few rows": (500, 4224)}
"""Outputs above 8 MiB in float32, which are stored past the cache, from an aligned address on."""

by_kernel = pytest.mark.parametrize("kernel", KERNELS)
by_shape = pytest.mark.parametrize("shape", SHAPES)
by_dtype = pytest.mark.parametrize("dtype", DTYPES)


@pytest.fixture
def threads() -> Iterator[None]:
    """Give back the number of threads afterwards."""
    before = bn.get_num_threads()
    yield
    bn.set_num_threads(before)


def run(batch: Batch, kernel: str) -> list[AnyArray]:
    """Everything the engine computes for the batch, with an activation and a residual."""
    fwd = bn.batch_norm(
        batch.x,
        batch.gamma,
        batch.beta,
        activation="leaky_relu",
        residual=batch.residual,
        kernel=kernel,
    )
    g = bn.batch_norm_backward(batch.dy, fwd, kernel=kernel)
    return [fwd.y, fwd.mean, fwd.var, fwd.inv_std, g.dx, g.dgamma, g.dbeta, g.dresidual]


def run_plain(batch: Batch, kernel: str) -> list[AnyArray]:
    """The same without activation and residual, which is what can be streamed."""
    fwd = bn.batch_norm(batch.x, batch.gamma, batch.beta, kernel=kernel)
    g = bn.batch_norm_backward(batch.dy, fwd, kernel=kernel)
    return [fwd.y, fwd.mean, fwd.var, g.dx, g.dgamma, g.dbeta]


def assert_all_bits(got: list[AnyArray], want: list[AnyArray]) -> None:
    """Assert that two runs gave the same."""
    for one, other in zip(got, want, strict=True):
        assert_bits(one, other)


def shifted(values: AnyArray, by: int) -> AnyArray:
    """Start `by` elements after an address that is aligned to 128 bytes."""
    size = values.itemsize
    memory = np.empty(values.size + 16 + 128 // size, values.dtype)
    start = (-memory.ctypes.data % 128) // size + by
    view = memory[start : start + values.size].reshape(values.shape)
    view[...] = values
    return view


def moved(batch: Batch, by: int) -> Batch:
    """The same batch elsewhere: each array shifted by another number of elements."""
    x, dy, residual = (
        shifted(array, (by + at) % 16)
        for at, array in enumerate((batch.x, batch.dy, batch.residual))
    )
    return Batch(x, dy, residual, batch.gamma, batch.beta, batch.running_mean, batch.running_var)


@by_kernel
@by_shape
@by_dtype
@pytest.mark.usefixtures("threads")
def test_any_number_of_threads_gives_the_same_bits(kernel: str, shape: str, dtype: str) -> None:
    """1, 2, 3 and 7 threads, and the same number again."""
    batch = make(SHAPES[shape], dtype)
    bn.set_num_threads(1)
    want = run(batch, kernel)
    for count in (2, 3, 7, 1):
        bn.set_num_threads(count)
        assert_all_bits(run(batch, kernel), want)


@by_kernel
@pytest.mark.parametrize("shape", [(5, 3, 17, 23), (37, 20, 7, 3), (700, 37), (1000, 3)])
@by_dtype
def test_any_alignment_gives_the_same_bits(kernel: str, shape: tuple[int, ...], dtype: str) -> None:
    """Data that begins 1 to 15 elements after an aligned address."""
    batch = make(shape, dtype)
    want = run(moved(batch, 0), kernel)
    for by in range(1, 16):
        assert_all_bits(run(moved(batch, by), kernel), want)


@pytest.mark.skipif(not LEVELS, reason="the C++ part, which streams, is not built")
@pytest.mark.parametrize("kernel", LEVELS or ["native"])
@pytest.mark.parametrize("shape", STREAMED)
@pytest.mark.usefixtures("threads")
def test_streaming_changes_no_bits(kernel: str, shape: str) -> None:
    """Results stored past the cache, wherever the buffers begin and whoever stores them."""
    batch = make(STREAMED[shape])
    want = run_plain(batch, kernel)
    for by in (1, 11):
        bn.set_num_threads(1 + by % 3)
        other = moved(batch, by)
        fwd = bn.batch_norm(
            other.x, batch.gamma, batch.beta, out=shifted(batch.x, by), kernel=kernel
        )
        into = bn.Gradients(dx=shifted(batch.x, by))
        g = bn.batch_norm_backward(other.dy, fwd, into=into, kernel=kernel)
        assert_all_bits([fwd.y, fwd.mean, fwd.var, g.dx, g.dgamma, g.dbeta], want)


@by_kernel
def test_several_python_threads_get_what_one_gets(kernel: str) -> None:
    """Calls at the same time share nothing; each has another batch."""
    batches = [make(shape, seed=seed) for seed in range(2) for shape in SHAPES.values()]
    want = [run(batch, kernel) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda batch: run(batch, kernel), batches))
    for one, other in zip(got, want, strict=True):
        assert_all_bits(one, other)


@pytest.mark.usefixtures("threads")
def test_the_number_of_threads_is_kept() -> None:
    """get_num_threads gives what set_num_threads was given, or 1 where there is one thread only."""
    bn.set_num_threads(3)
    assert bn.get_num_threads() == (1 if KERNELS == ("numpy",) else 3)
