"""How many threads share one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm import _check
from backnorm.kernels import native_kernel

if TYPE_CHECKING:
    from typing import SupportsIndex

__all__ = ["get_num_threads", "set_num_threads"]


def set_num_threads(n: SupportsIndex) -> None:
    """Let each call of the engine use up to n threads, in this process.

    Parameters
    ----------
    n
        At least 1. Until this is called, OpenMP's own number is used: OMP_NUM_THREADS, or one for
        each processor.

    Raises
    ------
    RangeError
        If n is no whole number, or less than 1.

    Notes
    -----
    The result of a call does not depend on it, to the last bit. The NumPy kernel uses one thread;
    so does the native one in a child process after fork, where OpenMP's threads no longer exist.

    Examples
    --------
    >>> import backnorm as bn
    >>> bn.set_num_threads(1)
    >>> bn.get_num_threads()
    1
    """
    native_kernel.set_thread_count(_check.threads(n))


def get_num_threads() -> int:
    """Return how many threads a call of the engine may use.

    Examples
    --------
    >>> import backnorm as bn
    >>> bn.get_num_threads() >= 1
    True
    """
    return native_kernel.thread_count()
