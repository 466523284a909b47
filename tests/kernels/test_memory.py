"""Recycled output memory: lent, given back, bounded, and never lent twice."""

from __future__ import annotations

import os
import resource
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

import backnorm as bn
from backnorm import kernels
from backnorm.errors import RangeError
from backnorm.kernels import memory

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    kernels.get().name != "native", reason="the C++ part was not built: nothing is recycled"
)

SIDE = 1200  # 1200 x 1200 float32 are 5.5 MiB: above the size from which memory is recycled


@pytest.fixture(autouse=True)
def _clean_pool() -> Iterator[None]:
    """Begin and end with an empty pool and the default limit."""
    bn.empty_cache()
    yield
    bn.empty_cache()
    bn.set_cache_limit(1 << 30)


@pytest.fixture
def x() -> np.ndarray:
    """An input whose output is recycled."""
    return np.random.default_rng(0).standard_normal((SIDE, SIDE), dtype=np.float32)


def address(array: np.ndarray) -> int:
    """Where an array's memory begins."""
    return int(array.__array_interface__["data"][0])


def test_dead_output_is_used_again(x: np.ndarray) -> None:
    """The second output lies where the first one lay."""
    first = address(bn.batch_norm(x).y)
    assert address(bn.batch_norm(x).y) == first


def test_memory_is_not_lent_while_a_view_lives(x: np.ndarray) -> None:
    """A slice of an output keeps all of it."""
    view = bn.batch_norm(x).y[3:5]
    kept = view.copy()
    second = bn.batch_norm(-x).y
    assert not np.shares_memory(view, second)
    assert np.array_equal(view, kept)


def test_every_kind_of_view_keeps_the_memory(x: np.ndarray) -> None:
    """Transposed, reshaped, cast by view, behind memoryview and frombuffer."""
    ways = [
        lambda y: y.T,
        lambda y: y.reshape(-1)[5:6],
        lambda y: y.view(np.int32),
        memoryview,
        lambda y: np.frombuffer(y, np.uint8),
        lambda y: iter(y.flat),
    ]
    for way in ways:
        kept = way(bn.batch_norm(x).y)
        lent = memory.usage()["lent"]
        other = bn.batch_norm(x)
        assert memory.usage()["lent"] > lent
        del kept, other


def test_second_call_touches_no_fresh_page(x: np.ndarray) -> None:
    """The first call touches huge pages or small ones; the second touches none."""

    def faults() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    bn.batch_norm(x)
    bn.empty_cache()
    counts = []
    for _ in range(2):
        before = faults()
        bn.batch_norm(x)
        counts.append(faults() - before)
    small_pages = x.nbytes // resource.getpagesize()
    assert counts[0] >= 1
    assert counts[1] <= 8, counts  # the interpreter's own
    assert counts[1] < small_pages


def test_output_keeps_the_order_of_channels_last_input() -> None:
    """Recycled memory is laid out like the input's."""
    x = np.moveaxis(np.ones((4, 130, 130, 32), np.float32), -1, 1)
    assert memory.empty_like(x).strides == x.strides


def test_idle_memory_is_bounded(x: np.ndarray) -> None:
    """What exceeds the limit goes back to the system."""
    bn.set_cache_limit(8 << 20)
    outputs = [bn.batch_norm(x) for _ in range(3)]
    assert memory.usage()["idle"] == 0
    del outputs
    assert 0 < memory.usage()["idle"] <= 8 << 20


def test_limit_of_zero_switches_recycling_off(x: np.ndarray) -> None:
    """No buffer is lent, and none kept."""
    bn.set_cache_limit(0)
    before = memory.usage()
    fwd = bn.batch_norm(x)
    assert memory.usage() == before
    assert fwd.y.shape == x.shape


def test_empty_cache_keeps_what_is_lent(x: np.ndarray) -> None:
    """Living outputs stay as they are."""
    fwd = bn.batch_norm(x)
    kept = fwd.y.copy()
    bn.batch_norm(x)
    bn.empty_cache()
    assert memory.usage()["idle"] == 0
    assert np.array_equal(fwd.y, kept)


def test_small_outputs_are_not_recycled() -> None:
    """Below 4 MiB NumPy's own memory serves."""
    before = memory.usage()
    bn.batch_norm(np.ones((100, 100), np.float32))
    assert memory.usage() == before


def test_buffer_serves_smaller_outputs_only_if_it_is_well_filled() -> None:
    """An output of half the size does not take a large buffer."""
    large = memory.empty_like(np.empty((64, 1 << 20), np.uint8))
    place = address(large)
    del large
    assert address(memory.empty_like(np.empty((32, 1 << 20), np.uint8))) != place
    assert address(memory.empty_like(np.empty((60, 1 << 20), np.uint8))) == place


def test_threads_never_get_the_same_memory(x: np.ndarray) -> None:
    """Each thread's output holds that thread's values, again and again."""
    wrong: list[int] = []

    def work(sign: int) -> None:
        gamma = np.full(SIDE, sign, np.float32)
        expected = bn.batch_norm(x, gamma, kernel="numpy").y[:4].copy()
        for _ in range(10):
            got = bn.batch_norm(x, gamma).y[:4]
            if np.abs(got - expected).max() > 1:
                wrong.append(sign)

    threads = [threading.Thread(target=work, args=(sign,)) for sign in (1, -1, 100, -100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_child_after_fork_has_a_pool_of_its_own(x: np.ndarray) -> None:
    """What the child writes into recycled memory does not reach the parent."""
    fwd = bn.batch_norm(x)
    kept = fwd.y.copy()
    bn.batch_norm(x)
    child = os.fork()
    if child == 0:
        good = bn.batch_norm(-x).y[0, 0] == -kept[0, 0]
        bn.empty_cache()
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(fwd.y, kept)
    assert np.array_equal(bn.batch_norm(x).y, kept)


@pytest.mark.parametrize("limit", [-1, 1.5, "1 GiB", None])
def test_wrong_limit_is_refused(limit: object) -> None:
    """A limit is a whole number of bytes."""
    with pytest.raises(RangeError, match=r"^limit must be a whole number of bytes, 0 or greater"):
        bn.set_cache_limit(limit)  # type: ignore[arg-type]
