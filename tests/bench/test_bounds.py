"""What bounds a pass, and which memory serves it."""

from __future__ import annotations

import numpy as np
import pytest

from backnorm import kernels
from backnorm.bench import engine, machine
from backnorm.bench.bounds import WALKS, bound_calls
from backnorm.kernels import native_kernel

needs_native = pytest.mark.skipif(
    kernels.get().name != "native", reason="the C++ part was not built"
)


def test_every_operation_of_the_engine_has_a_bound() -> None:
    """The step through autograd has none: it allocates."""
    assert tuple(WALKS) == ("forward", "forward_relu", "forward_residual_relu", "backward")
    assert set(WALKS) == set(engine.OPERATIONS)


@needs_native
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("op", engine.OPERATIONS)
def test_bounds_read_all_and_write_all(op: str, layout: str) -> None:
    """Every byte of the target is that of what was read."""
    arrays = engine.data((4, 8, 5, 5), layout, "float32")
    calls = bound_calls(op, layout, arrays)
    assert list(calls) == ["bound (plain)", "bound (streaming)"]
    x, out = (a.ravel(order="K").view(np.uint64) for a in (arrays.x, arrays.out))
    beside = {"backward": arrays.dy, "forward_residual_relu": arrays.residual}.get(op)
    z = None if beside is None else beside.ravel(order="K").view(np.uint64)
    for call in calls.values():
        out[...] = 0
        call()
        expected = {False: ~x, True: x} if z is None else {False: x ^ z, True: x ^ z}
        assert any(np.array_equal(out, way) for way in expected.values())


@needs_native
@pytest.mark.parametrize("piece", [0, 8, 64, 1000, 10**9])
@pytest.mark.parametrize("words", [0, 1, 7, 8, 49, 100_001])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("streaming", [False, True])
def test_bounds_end_where_the_arrays_end(
    words: int, piece: int, first: int, *, streaming: bool
) -> None:
    """Whatever the pieces and the alignment are, and with more words than one thread takes."""
    x, z = np.arange(words, dtype=np.uint64), np.arange(words, dtype=np.uint64)[::-1].copy()
    target = np.zeros(words + 2, dtype=np.uint64)
    inside = target[first : first + words]
    native_kernel.least_move(
        *(array.view(np.uint8) for array in (inside, x, z)), piece, 2, streaming=streaming
    )
    assert np.array_equal(inside, x ^ z)
    assert target[:first].sum() == target[first + words :].sum() == 0


def test_a_case_is_in_the_second_level_if_x_and_y_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all threads together; up to 8 MiB it is in the third."""
    monkeypatch.setattr(machine, "_caches", lambda: {2: 2**20})
    sizes = {2**19: "L2", 2**20: "L2", 2**20 + 4: "L3", 2**23: "L3", 2**23 + 4: "memory"}
    assert {size: machine.cache_of(size, 2) for size in sizes} == sizes


def test_the_machine_is_named() -> None:
    """Without the name of its host."""
    found = machine.machine()
    assert {"processor", "level"} <= found.keys()
    assert found["level"] in {"avx512", "avx2", "baseline", "numpy"}
