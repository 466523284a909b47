"""The collective of a pass: exact sums are added over all ranks, as integers.

A message begins with how many values a rank has and whether it has failed; the limbs follow. So an
exception of one rank is known to all of them in the collective in which they wait for it anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from torch import distributed

from backnorm.errors import RankError

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import Int64Array

__all__ = ["Total", "add_up", "agree"]

HEAD: Final = 2


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


def add_up(own: Int64Array, write: Callable[[Int64Array], int], group: str) -> Total:
    """Add limbs over all ranks of a group.

    Parameters
    ----------
    own
        Limbs of no values.
    write
        Writes those of this rank to its argument, and returns how many values a channel has. If it
        raises an exception, every rank raises one.
    group
        The group's name.
    """
    message = np.zeros(HEAD + own.size, np.int64)
    failure: Exception | None = None
    try:
        message[0] = write(own)
        message[HEAD:] = own.ravel()
    except Exception as error:  # noqa: BLE001 - raised again when all ranks know of it
        message[:HEAD] = 0, 1
        failure = error
    _all_reduce(torch.from_numpy(message), group)
    if failure is not None:
        raise failure
    if message[1]:
        raise RankError.failed_elsewhere(int(message[1]))
    return Total(own, message[HEAD:].reshape(own.shape), int(message[0]))


def agree(channels: int, group: str) -> None:
    """Raise an error on every rank unless all of them have the same number of channels.

    Their messages have different lengths otherwise, at which the gloo backend ends the process.
    """
    bounds = torch.tensor([channels, -channels])
    _all_reduce(bounds, group, distributed.ReduceOp.MAX)
    most, least = int(bounds[0]), -int(bounds[1])
    if least != most:
        raise RankError.channels(channels, least, most)


def _all_reduce(message: torch.Tensor, group: str, op: Any = None) -> None:
    # Looked up when it is needed: not every PyTorch has torch.distributed.
    resolve: Any = vars(distributed.distributed_c10d)["_resolve_process_group"]
    op = distributed.ReduceOp.SUM if op is None else op
    distributed.all_reduce(message, op=op, group=resolve(group))
