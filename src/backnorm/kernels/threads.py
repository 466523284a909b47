"""How many threads share one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm import _check
from backnorm.errors import RangeError
from backnorm.kernels import native_kernel

if TYPE_CHECKING:
    from typing import SupportsIndex

__all__ = ["get_num_threads", "set_num_threads"]

# The C++ part counts threads in 32 bits.
MOST = 2**31 - 1


def set_num_threads(n: SupportsIndex) -> None:
    """Let each call of the engine use up to n threads, in this process.

    Parameters
    ----------
    n
        From 1 to 2147483647. Until this is called, it is OMP_NUM_THREADS, or one for each processor
        that the process may use; where PyTorch is loaded, at most torch.get_num_threads().

    Raises
    ------
    RangeError
        If n is not a whole number, or out of range.

    Notes
    -----
    Results are bitwise identical for any number of threads. The NumPy kernel uses one thread. So
    does the native one in a child process after fork, where its threads do not exist, and in a call
    from within another call. One call has 256 threads at most. A processor that a control group
    limits counts as far as its time goes. OMP_WAIT_POLICY=passive lets idle threads sleep at once.

    Examples
    --------
    >>> import backnorm as bn
    >>> bn.set_num_threads(1)
    >>> bn.get_num_threads()
    1
    """
    count = _check.whole_number(n, 1, RangeError.threads)
    native_kernel.set_thread_count(_check.at_most("n", count, MOST))


def get_num_threads() -> int:
    """Return how many threads a call of the engine may use.

    Examples
    --------
    >>> import backnorm as bn
    >>> bn.get_num_threads() >= 1
    True
    """
    return native_kernel.thread_count()
