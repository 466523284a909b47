"""The collective of a pass: exact sums are added over all ranks, as integers.

A message begins with how many values a rank has, whether it has failed or needs more space, and two
numbers that tell whether all ranks have the same windows. Then come the limbs in their windows. It
has the sums of one layer in a pass, and those of many where they are added once a step.
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
    from collections.abc import Callable, Sequence

    from backnorm._types import AnyArray, Int64Array
    from backnorm.kernels.exact_windows import Window

__all__ = ["ALONE", "Total", "add_floats", "add_up", "agree", "agree_on_layers", "group_of"]

ALONE: Final = ""
"""The name of a group of this process only, in which there are no collectives."""

STATE: Final = 3
"""Numbers in a message beside counts and limbs."""
HEAD: Final = STATE + 1
"""Numbers before the limbs of one layer."""
DOUBLE: Final = 1 << 20
FAILED: Final = 1 << 40
"""In the first number of the state; one rank that needs more space counts 1, one with float64
DOUBLE more."""


class Total(NamedTuple):
    """What `add_up` returns.

    Attributes
    ----------
    own
        The limbs of this rank.
    limbs
        Those of all ranks together.
    counts
        How many values a channel of each layer has on all ranks.
    """

    own: Int64Array
    limbs: Int64Array
    counts: Int64Array


def add_up(
    empty: Callable[[bool], Int64Array],
    places: Int64Array,
    window: Window | None,
    write: Callable[[Int64Array], Sequence[int]],
    group: str,
    *,
    double: bool,
    layers: int = 1,
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
        Writes the limbs of this rank to its argument, and returns how many values a channel of each
        layer has. If it raises an exception, every rank raises one.
    group
        The group's name.
    double
        Whether this rank has float64.
    layers
        Of how many layers the limbs are.
    """
    own = empty(double)
    rows = own.reshape(-1, own.shape[-1])
    size = len(rows) * exact_windows.size_of(places)
    message = np.zeros(layers + STATE + size, np.int64)
    counts, state, narrow = np.split(message, (layers, layers + STATE))
    failure: Exception | None = None
    try:
        counts[:] = write(own)
    except Exception as error:  # noqa: BLE001 - raised again when all ranks know of it
        state[0], failure = FAILED, error
    else:
        if double:
            state[0] = DOUBLE + 1
        else:
            _fill(state, narrow, rows, window)
    _all_reduce(message, group)
    if failure is not None:
        raise failure
    if state[0] >= FAILED:
        raise RankError.failed_elsewhere(int(state[0]) // FAILED)
    if window is not None and _fit(state, group):
        wide = exact_windows.widened(narrow.reshape(len(rows), -1), window, rows)
        return Total(own, wide.reshape(own.shape), counts)
    if state[0] >= DOUBLE and not double:
        own = empty(True)
        write(own)
    limbs = own.copy()
    _all_reduce(limbs, group)
    return Total(own, limbs, counts)


def _fill(state: Int64Array, space: Int64Array, rows: Int64Array, window: Window | None) -> None:
    narrow = None if window is None else exact_windows.narrowed(rows, window)
    if window is None or narrow is None:
        state[0] = 1
        return
    # If the sum of squares of what all ranks send is as small as it can be, they send the same.
    state[1:] = window.digest, window.digest**2
    space[:] = narrow.ravel()


def _fit(state: Int64Array, group: str) -> bool:
    """Whether all ranks have sent their sums, in the same windows: every rank finds the same."""
    ranks = 1 if group == ALONE else distributed.get_world_size(group_of(group))
    needs_space, first, second = map(int, state)
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
    ((least, most),) = _bounds([channels], group)
    if least != most:
        raise RankError.channels(channels, least, most)


def agree_on_layers(channels: Sequence[int], digest: int, group: str) -> None:
    """Raise an error on every rank unless all of them have layers of the same channels.

    The digest is that of the numbers of channels in the order of the layers.
    """
    bounds = _bounds([len(channels), sum(channels), digest], group)
    if any(least != most for least, most in bounds):
        raise RankError.layers(len(channels), sum(channels), bounds[:2])


def _bounds(values: Sequence[int], group: str) -> list[tuple[int, int]]:
    """Return the least and the greatest of each value over all ranks."""
    bounds = np.array([[value, -value] for value in values])
    _all_reduce(bounds, group, "MAX")
    return [(-least, most) for most, least in bounds.tolist()]


def _all_reduce(message: AnyArray, group: str, operation: str = "SUM") -> None:
    if group == ALONE:
        return
    op = getattr(distributed.ReduceOp, operation)
    distributed.all_reduce(torch.from_numpy(message), op=op, group=group_of(group))


def group_of(name: str) -> Any:
    """Return the group with this name."""
    # Looked up when it is needed: not every PyTorch has torch.distributed.
    resolve: Any = vars(distributed.distributed_c10d)["_resolve_process_group"]
    return resolve(name)
