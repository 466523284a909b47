"""The engine in C++: the only place that imports the compiled module."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from backnorm.errors import NotInstalledError
from backnorm.kernels._contract import Kernel
from backnorm.kernels._higher_order import second, tangent

if TYPE_CHECKING:
    from types import ModuleType

    from backnorm._types import Activation, AnyArray
    from backnorm.kernels._contract import BackwardCall, ForwardCall

__all__ = [
    "at_level",
    "borrow",
    "copy",
    "empty_cache",
    "levels",
    "memory_usage",
    "set_cache_limit",
    "set_thread_count",
    "tensor_calls",
    "thread_count",
]


def _load() -> ModuleType | None:
    """Return the compiled module, or None where the package was installed without it."""
    try:
        return import_module("backnorm.kernels._native_ext")
    except ImportError:
        return None


_native: Any = _load()

ACTIVATIONS: dict[Activation, int] = {"identity": 0, "relu": 1, "relu6": 2, "leaky_relu": 3}

# The codes of call.hpp, by NumPy's letter for the format; bfloat16 has none of its own.
_FORMATS = {"f": 0, "d": 1, "e": 3}
_BFLOAT16 = 2
_BITS = np.dtype(np.uint16)


def levels() -> tuple[str, ...]:
    """Return the instruction-set levels of this processor, the best first; () if not built."""
    return _native.levels() if _native else ()


def at_level(level: str) -> Kernel:
    """Return the kernel at one of `levels()`."""
    index = levels().index(level)
    return Kernel(
        "native", level, partial(_forward, index), partial(_backward, index), tangent, second
    )


def set_thread_count(count: int) -> None:
    """Let each call use up to count threads."""
    if _native:
        _native.set_thread_count(count)


def thread_count() -> int:
    """Return how many threads a call may use."""
    return _native.thread_count() if _native else 1


def borrow(size: int) -> Any:
    """Return recycled memory of this many bytes as a buffer, or None where there is none."""
    return _native.borrow(size) if _native else None


def empty_cache() -> None:
    """Give idle memory back to the system."""
    if _native:
        _native.empty_cache()


def set_cache_limit(limit: int) -> None:
    """Let at most limit bytes lie idle."""
    if _native:
        _native.set_cache_limit(limit)


def memory_usage() -> dict[str, int]:
    """Return what the pool of recycled memory holds."""
    return _native.memory_usage() if _native else {}


def tensor_calls() -> Any:
    """Return the functions that take a framework's tensors, or None if not built.

    They are those of tensor_calls.cpp: accepts, forward_tensors, backward_tensors, in_place and
    can_invert, once use_exchange has been given the framework's DLPack exchange. Levels are
    indices, 0 for the best.
    """
    return _native


def copy(target: AnyArray, source: AnyArray, *, streaming: bool) -> None:
    """Copy contiguous bytes with as many threads as a call uses: what the benchmark is held to."""
    if _native is None:
        raise NotInstalledError.native_kernel()
    _native.copy(target, source, streaming)


def _forward(level: int, call: ForwardCall) -> None:
    _native.forward(
        level,
        *_operands(call[:3]),
        *call[3:8],  # gamma, beta, statistics, frozen, eps
        ACTIVATIONS[call.activation],
        call.negative_slope,
    )


def _backward(level: int, call: BackwardCall) -> None:
    _native.backward(
        level,
        *_operands(call[:5]),
        *call[5:13],  # sums, gamma, statistics, frozen, through_..., add_...
        ACTIVATIONS[call.activation],
        call.negative_slope,
    )


def _operands(arrays: tuple[AnyArray | None, ...]) -> tuple[Any, ...]:
    """Return the code of the arrays' format, and the arrays, 16-bit formats as integers."""
    first = arrays[0]
    assert first is not None  # noqa: S101 - the first operand is never optional
    code = _FORMATS.get(first.dtype.char, _BFLOAT16)
    if first.itemsize != _BITS.itemsize:
        return code, *arrays
    return code, *(None if array is None else array.view(_BITS) for array in arrays)
