"""The engine in C++: the only place that imports the compiled module."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backnorm.errors import NotInstalledError
from backnorm.kernels._contract import Kernel
from backnorm.kernels._higher_order import second, tangent
from backnorm.kernels.activations import ACTIVATIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    import numpy.typing as npt

    from backnorm._types import AnyArray, Float64Array, Int64Array
    from backnorm.kernels._contract import BackwardCall, ForwardCall

__all__ = [
    "at_level",
    "borrow",
    "copy",
    "empty_cache",
    "jax_handlers",
    "least_move",
    "levels",
    "limb_statistics",
    "limb_sums",
    "memory_usage",
    "moment_bins",
    "narrow_limbs",
    "set_cache_limit",
    "set_thread_count",
    "tensor_calls",
    "thread_count",
    "usual_calls",
    "usual_fields",
    "wide_limbs",
]


def _load() -> ModuleType | None:
    """Return the compiled module, or None if the package was installed without it."""
    try:
        return import_module("backnorm.kernels._native_ext")
    except ImportError:
        return None


_native: Any = _load()

# The codes of call.hpp, by NumPy's letter for the dtype. NumPy has no letter for bfloat16.
_DTYPES = {"f": 0, "d": 1, "e": 3}
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
    """Return recycled memory of this many bytes as a buffer, or None if none is available."""
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
    """Return the state of the pool of recycled memory; see `memory.usage`."""
    return _native.memory_usage() if _native else {}


DONE: Final = 1
"""What backward_tensors returns if all is computed; 0 if x, dy and y must be laid out as dx."""

NEEDS_OUTPUT: Final = 2
"""What it returns if it needs the output, which was absent, after all."""


def tensor_calls() -> Any:
    """Return the functions that take a framework's tensors, or None if not built.

    They are those of tensor_calls.cpp: accepts, forward_tensors, backward_tensors, in_place,
    can_invert and result_format. First use_exchange must be called with the framework's DLPack
    exchange, and use_storage with its functions that tell whether a tensor's memory was freed.
    Levels are indices, 0 for the best.
    """
    return _native


def jax_handlers() -> dict[str, Any]:
    """Return the handlers for XLA by name; {} if the headers of jaxlib were not there."""
    return _native.jax_handlers() if _native else {}


def usual_fields() -> dict[str, tuple[str, ...]]:
    """Return the names of fields and arguments as the C++ part has them; {} if it is not built."""
    return _native.usual_fields() if _native else {}


def usual_calls(
    forward: type, saved: type, gradients: type, large: int
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the forward and the backward call in C++ for arrays of less than `large` bytes.

    Both take all arguments of the public function, and return an object of the given classes, or
    None where the call is not a usual one.
    """
    if not _native:
        return _never, _never
    _native.use_results(forward, saved, gradients, large)
    return _native.usual_forward, _native.usual_backward


def _never(*_: object) -> None:
    """Return None: no call is usual."""


def moment_bins(x: AnyArray) -> tuple[int, npt.NDArray[np.int64], Float64Array] | None:
    """Return the sums of moment_bins.hpp, or None if the C++ part is not built.

    x has shape (outer, C, inner), laid out as for a kernel. The results are the exponent of the
    first bin; the bins, shape (C, 6, exponents), int64; and the sum of what is not finite.
    """
    if _native is None:
        return None
    dtype, as_bits = _storage(x)
    low, high = _native.exponent_range(dtype, as_bits(x))
    bins = np.zeros((x.shape[1], 6, max(high - low + 1, 0)), np.int64)
    special = np.zeros(x.shape[1])
    _native.add_moments(dtype, as_bits(x), low, bins, special)
    return low, bins, special


def limb_statistics(limbs: Int64Array, n: int, eps: float, statistics: Float64Array) -> bool:
    """Do what `exact_limbs.statistics_of` says; False if the C++ part is not built."""
    if _native is None:
        return False
    _native.limb_statistics(limbs, n, eps, statistics)
    return True


def limb_sums(
    limbs: Int64Array, statistics: Float64Array, slope: float, sums: Float64Array
) -> bool:
    """Do what `exact_limbs.sums_of` says; False if the C++ part is not built."""
    if _native is None:
        return False
    _native.limb_sums(limbs, statistics, slope, sums)
    return True


def narrow_limbs(
    limbs: Int64Array, places: Int64Array, low: Int64Array, out: Int64Array
) -> bool | None:
    """Do what `exact_windows.narrowed` says: whether all fit; None if the C++ part is not built."""
    return None if _native is None else bool(_native.narrow_limbs(limbs, places, low, out))


def wide_limbs(narrow: Int64Array, places: Int64Array, low: Int64Array, limbs: Int64Array) -> bool:
    """Do what `exact_windows.widened` says; False if the C++ part is not built."""
    if _native is None:
        return False
    _native.wide_limbs(narrow, places, low, limbs)
    return True


def copy(target: AnyArray, source: AnyArray, *, streaming: bool) -> None:
    """Copy contiguous bytes with the threads of a call; the benchmark compares kernels with it."""
    if _native is None:
        raise NotInstalledError.native_kernel()
    _native.copy(target, source, streaming)


def least_move(
    target: AnyArray,
    x: AnyArray,
    z: AnyArray | None,
    piece: int,
    read_first: int,
    *,
    streaming: bool,
) -> None:
    """Read and write what a pass over contiguous bytes must, without computing: a bound of time.

    Parameters
    ----------
    target
        Is overwritten.
    x, z
        What the pass reads; z may be None.
    piece
        How many bytes of an array are needed whole before any of them is written.
    read_first
        How many of the arrays x and z are read for that: 0, 1 or 2.
    streaming
        Whether stores go past the caches.
    """
    if _native is None:
        raise NotInstalledError.native_kernel()
    _native.least_move(target, x, x if z is None else z, piece, read_first, streaming)


def _forward(level: int, call: ForwardCall) -> None:
    dtype, as_bits = _storage(call.x)
    _native.forward(
        level,
        dtype,
        as_bits(call.x),
        None if call.limbs is not None else as_bits(call.y),
        as_bits(call.residual),
        call.gamma,
        call.beta,
        call.statistics,
        call.frozen,
        call.eps,
        ACTIVATIONS[call.activation].code,
        call.negative_slope,
        call.law == "exact",
        call.total,
        call.limbs,
        call.threads,
    )


def _backward(level: int, call: BackwardCall) -> None:
    dtype, as_bits = _storage(call.x)
    _native.backward(
        level,
        dtype,
        as_bits(call.dy),
        as_bits(call.x),
        as_bits(call.y),
        as_bits(call.dx),
        as_bits(call.dresidual),
        call.sums,
        call.gamma,
        call.statistics,
        call.frozen,
        call.through_mean,
        call.through_variance,
        call.add_dx,
        call.add_dresidual,
        ACTIVATIONS[call.activation].code,
        call.negative_slope,
        call.law == "exact",
        call.total,
        call.limbs,
        call.measures,
        call.threads,
    )


def _storage(x: AnyArray) -> tuple[int, Callable[[AnyArray | None], AnyArray | None]]:
    """Return the code of x's dtype, and the function that makes a buffer of such an array."""
    code = _DTYPES.get(x.dtype.char, _BFLOAT16)
    return code, _bits if x.itemsize == _BITS.itemsize else _unchanged


def _bits(array: AnyArray | None) -> AnyArray | None:
    """Return an array of a 16-bit dtype as integers: NumPy exports no buffer of bfloat16."""
    return None if array is None else array.view(_BITS)


def _unchanged(array: AnyArray | None) -> AnyArray | None:
    return array
