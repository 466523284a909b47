"""The collective of a pass: exact sums are added over all ranks, as integers.

A message begins with four numbers: how many values a rank has, whether it has failed or needs more
space, and what tells whether all ranks have the same windows. Then come the limbs in their windows.
So an exception of one rank is known to all of them in the collective in which they wait for it
anyway. Where a sum does not fit its window all ranks repeat the collective with the whole limbs;
with those of float64 if one of them has float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from torch import distributed

from backnorm.errors import RankError
from backnorm.kernels import exact_windows

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import AnyArray, Int64Array
    from backnorm.kernels.exact_windows import Window

__all__ = ["ALONE", "Total", "add_floats", "add_up", "agree"]

ALONE: Final = ""
"""The name of a group of this process only, in which there are no collectives."""

HEAD: Final = 4
DOUBLE: Final = 1 << 20
FAILED: Final = 1 << 40
"""In the second number; one rank that needs more space counts 1, one with float64 DOUBLE more."""


class Total(NamedTuple):
    """What `add_up` returns.

    Attributes
    ----------
    own
        The limbs of this rank.
    limbs
        Those of all ranks together.
    n
        How many values each channel has on all ranks.
    """

    own: Int64Array
    limbs: Int64Array
    n: int


def add_up(
    empty: Callable[[bool], Int64Array],
    places: Int64Array,
    window: Window | None,
    write: Callable[[Int64Array], int],
    group: str,
    *,
    double: bool,
) -> Total:
    """Add limbs over all ranks of a group.

    Parameters
    ----------
    empty
        Returns limbs of no values, of float64 if its argument is True.
    places
        Where the sums stand among them.
    window
        Where their windows are; None if that is not known.
    write
        Writes the limbs of this rank to its argument, and returns how many values a channel has. If
        it raises an exception, every rank raises one.
    group
        The group's name.
    double
        Whether this rank has float64.
    """
    own = empty(double)
    rows = own.reshape(-1, own.shape[-1])
    message = np.zeros(HEAD + len(rows) * exact_windows.size_of(places), np.int64)
    failure: Exception | None = None
    try:
        message[0] = write(own)
    except Exception as error:  # noqa: BLE001 - raised again when all ranks know of it
        message[1], failure = FAILED, error
    else:
        if double:
            message[1] = DOUBLE + 1
        else:
            _fill(message, rows, window)
    _all_reduce(message, group)
    if failure is not None:
        raise failure
    if message[1] >= FAILED:
        raise RankError.failed_elsewhere(int(message[1]) // FAILED)
    if window is not None and _fit(message, group):
        narrow = message[HEAD:].reshape(len(rows), -1)
        return Total(
            own, exact_windows.widened(narrow, window, rows).reshape(own.shape), int(message[0])
        )
    if message[1] >= DOUBLE and not double:
        own = empty(True)
        write(own)
    limbs = own.copy()
    _all_reduce(limbs, group)
    return Total(own, limbs, int(message[0]))


def _fill(message: Int64Array, rows: Int64Array, window: Window | None) -> None:
    narrow = None if window is None else exact_windows.narrowed(rows, window)
    if window is None or narrow is None:
        message[1] = 1
        return
    # If the sum of squares of what all ranks send is as small as it can be, they send the same.
    message[2], message[3] = window.digest, window.digest**2
    message[HEAD:] = narrow.ravel()


def _fit(message: Int64Array, group: str) -> bool:
    """Whether all ranks have sent their sums, in the same windows: every rank finds the same."""
    ranks = 1 if group == ALONE else distributed.get_world_size(_group(group))
    _, needs_space, first, second = map(int, message[:HEAD])
    return needs_space == 0 and ranks * second == first * first


def add_floats(
    compute: Callable[[], torch.Tensor], shape: tuple[int, int], group: str
) -> torch.Tensor:
    """Return the sum over all ranks of what compute returns: float64 of that shape.

    If it raises an exception, every rank raises one.
    """
    message = torch.zeros(1 + shape[0] * shape[1], dtype=torch.float64)
    failure: Exception | None = None
    try:
        message[1:] = compute().reshape(-1)
    except Exception as error:  # noqa: BLE001 - raised again when all ranks know of it
        message[0], failure = 1.0, error
    _all_reduce(message.numpy(), group)
    if failure is not None:
        raise failure
    if message[0]:
        raise RankError.failed_elsewhere(int(message[0]))
    return message[1:].reshape(shape)


def agree(channels: int, group: str) -> None:
    """Raise an error on every rank unless all of them have the same number of channels.

    Their messages have different lengths otherwise, at which the gloo backend ends the process.
    """
    bounds = np.array([channels, -channels])
    _all_reduce(bounds, group, "MAX")
    most, least = int(bounds[0]), -int(bounds[1])
    if least != most:
        raise RankError.channels(channels, least, most)


def _all_reduce(message: AnyArray, group: str, operation: str = "SUM") -> None:
    if group == ALONE:
        return
    op = getattr(distributed.ReduceOp, operation)
    distributed.all_reduce(torch.from_numpy(message), op=op, group=_group(group))


def _group(name: str) -> Any:
    # Looked up when it is needed: not every PyTorch has torch.distributed.
    resolve: Any = vars(distributed.distributed_c10d)["_resolve_process_group"]
    return resolve(name)
