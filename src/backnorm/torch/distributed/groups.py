"""Groups of some consecutive ranks of a group, which share the statistics of a pass."""

from __future__ import annotations

import weakref
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import distributed

from backnorm.errors import NotSupportedError
from backnorm.torch.distributed import exchange
from backnorm.torch.engine.ghost import group_sizes
from backnorm.torch.engine.tools import constant_result

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["around", "cut"]

_names: Final[dict[tuple[str, int], tuple[weakref.ref[Any], str]]] = {}
"""Of a group and a size, the group itself, since a later one may have its name, and a name."""


@constant_result
def around(group: str, size: int) -> str:
    """Return the name of the group of `size` ranks of a group in which this rank is.

    All groups are made in the first call, which must come at the same place on every rank.
    """
    whole = exchange.group_of(group)
    made, name = _names.get((group, size), (None, ""))
    if made is None or made() is not whole:
        name = _made(whole, size)
        _names[group, size] = weakref.ref(whole), name
    return name


def cut(ranks: Sequence[int], size: int) -> list[Sequence[int]]:
    """Return the ranks of each group; a last one of one rank joins the group before."""
    sizes = group_sizes(len(ranks), size)
    return [ranks[end - n : end] for n, end in zip(sizes, accumulate(sizes), strict=True)]


def _made(whole: Any, size: int) -> str:
    ranks = distributed.get_process_group_ranks(whole)
    parts = cut(ranks, size)
    if len(parts) == 1:
        return str(whole.group_name)
    if len(ranks) < distributed.get_world_size():
        # PyTorch numbers the groups that a rank has made: all ranks must make the same ones.
        raise NotSupportedError.groups_of_some_ranks(len(ranks), distributed.get_world_size())
    own = distributed.get_rank()
    name = exchange.ALONE
    for part in parts if size > 1 else ():
        options = {"timeout": _timeout(whole), "backend": distributed.get_backend(whole)}
        group: Any = distributed.new_group(list(part), **options)
        if own in part:
            name = str(group.group_name)
    return name


def _timeout(group: Any) -> Any:
    """Return how long a collective waits; None where PyTorch does not tell."""
    try:
        return group._get_backend(torch.device("cpu")).options._timeout
    except (AttributeError, RuntimeError):
        return None
