"""Memory for large outputs: in huge pages, and used again when the array that had it dies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backnorm import _check
from backnorm.kernels import native_kernel

if TYPE_CHECKING:
    from typing import SupportsIndex

    from backnorm._types import AnyArray

__all__ = ["empty_cache", "empty_like", "set_cache_limit", "usage"]

# Below two huge pages NumPy's own allocator keeps memory as well, and rounding up would waste more.
LARGE = 4 << 20


def empty_like(x: AnyArray) -> AnyArray:
    """Return an array like numpy.empty_like(x), from recycled memory when it is large."""
    memory = native_kernel.borrow(x.nbytes) if x.nbytes >= LARGE else None
    if memory is None:
        return np.empty_like(x)
    if x.flags.c_contiguous:
        return np.ndarray(x.shape, x.dtype, memory)
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    packed = np.ndarray(tuple(x.shape[axis] for axis in order), x.dtype, memory)
    return packed.transpose(np.argsort(order))


def empty_cache() -> None:
    """Give idle output memory back to the system.

    Examples
    --------
    >>> import backnorm as bn
    >>> bn.empty_cache()
    """
    native_kernel.empty_cache()


def set_cache_limit(limit: SupportsIndex) -> None:
    """Let at most this many bytes of output memory lie idle.

    Parameters
    ----------
    limit
        Bytes, 1 GiB at first; 0 switches recycling off: outputs are then NumPy's own.

    Raises
    ------
    RangeError
        If limit is no whole number, or negative.

    Notes
    -----
    Outputs of 4 MiB and more are made in huge pages, where the system has them. When such an array
    and all views of it are gone its memory is kept for the next one: fresh pages cost more than the
    arithmetic. The NumPy kernel alone, without the C++ part, recycles nothing.

    Examples
    --------
    >>> import backnorm as bn
    >>> bn.set_cache_limit(1 << 30)
    """
    native_kernel.set_cache_limit(_check.limit(limit))


def usage() -> dict[str, int]:
    """Return bytes (limit, idle, lent) and how many buffers were fresh and how many recycled."""
    return native_kernel.memory_usage()
