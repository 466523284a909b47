"""Memory for large outputs: in huge pages, and used again after the array is freed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backnorm import _check
from backnorm.errors import RangeError
from backnorm.kernels import native_kernel

if TYPE_CHECKING:
    from typing import SupportsIndex

    from backnorm._types import AnyArray

__all__ = ["empty_cache", "empty_like", "set_cache_limit", "usage"]

# Below two huge pages NumPy's own allocator keeps memory too, and rounding up would waste more.
LARGE = 4 << 20

# The pool counts bytes in 64 bits.
MOST = 2**63 - 1


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
        Bytes, 1 GiB at first. 0 switches recycling off: NumPy then allocates the outputs.

    Raises
    ------
    RangeError
        If limit is not a whole number, is negative, or exceeds 64 bits.

    Notes
    -----
    Outputs of 4 MiB and more are allocated in huge pages, where the system has them. When such an
    array and all views of it are freed, its memory is kept for the next output: fresh pages cost
    more than the arithmetic. Without the C++ part no memory is recycled.

    Examples
    --------
    >>> import backnorm as bn
    >>> bn.set_cache_limit(1 << 30)
    """
    size = _check.whole_number(limit, 0, RangeError.cache_limit)
    native_kernel.set_cache_limit(_check.at_most("limit", size, MOST))


def usage() -> dict[str, int]:
    """Return bytes (limit, idle, lent), and the number of fresh and of recycled buffers."""
    return native_kernel.memory_usage()
