"""Sums of a layer that are not yet in its running statistics.

Each pass adds the limbs of this rank to them, and how many values they are of; `merging` takes
them once a step. They are no buffer of the layer: DistributedDataParallel would give those of
rank 0 to every rank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from backnorm.errors import RankError
from backnorm.kernels import exact_limbs
from backnorm.torch.engine.autograd import runs_backward
from backnorm.torch.engine.tools import constant_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import Int64Array

__all__ = [
    "MERGED_LATER",
    "check_failure",
    "check_merged",
    "drop",
    "is_double",
    "kept",
    "note",
    "nothing",
    "sums_of",
    "watched",
    "width",
]

MERGED_LATER: Final = "_sums"
"""Attribute of a layer: int64 of shape (C, 1 + limbs), how many values and their limbs."""

FAILURE: Final = "_failure"
"""Attribute of a layer: what has failed in a pass, as text."""


def width(dtype: torch.dtype) -> int:
    """Return how many numbers of a channel are kept of inputs of a dtype."""
    limbs = exact_limbs.for_moments(1, double=dtype == torch.float64)
    return 1 + limbs.size


def nothing(channels: int) -> torch.Tensor:
    """Return the sums of no values."""
    return torch.zeros((channels, width(torch.float32)), dtype=torch.int64, device="cpu")


def kept(limbs: Int64Array, n: int) -> torch.Tensor:
    """Return what is kept of n values a channel."""
    if runs_backward():  # a forward pass that activation checkpointing repeats was counted before
        return torch.zeros((len(limbs), 1 + limbs.shape[1]), dtype=torch.int64)
    return torch.from_numpy(np.concatenate([np.full((len(limbs), 1), n), limbs], axis=1))


def note(layer: Any, sums: torch.Tensor) -> None:
    """Add the sums of a pass to those of a layer."""
    before: torch.Tensor = getattr(layer, MERGED_LATER)
    if sums.shape[1] > before.shape[1]:
        setattr(layer, MERGED_LATER, _as_double(before) + sums)
    elif sums.shape[1] < before.shape[1]:
        before.add_(_as_double(sums))
    else:
        before.add_(sums)


def watched(layer: Any, run: Callable[[], Any]) -> Any:
    """Return what a pass returns; note its failure, of which `merging` tells every rank."""
    try:
        return run()
    except Exception as error:
        if not runs_backward():  # where checkpointing stops a repeated pass by an exception
            setattr(layer, FAILURE, f"{type(error).__name__}: {error}")
        raise


def check_failure(layer: Any) -> None:
    """Raise an error if a pass has failed."""
    failure = vars(layer).get(FAILURE)
    if failure is not None:
        raise RankError.pass_failed(failure)


def check_merged(layer: Any, what: str) -> None:
    """Raise an error if a layer has sums that its running statistics lack."""
    sums = vars(layer).get(MERGED_LATER)
    if sums is None or not sums.shape[0]:
        return
    if torch.compiler.is_compiling():
        torch._assert_async(sums[0, 0] == 0, _not_merged(what))
    elif sums[0, 0]:
        raise RankError.not_merged(what)


@constant_result
def _not_merged(what: str) -> str:
    return str(RankError.not_merged(what))


def is_double(layer: Any) -> bool:
    """Whether a layer has sums of float64."""
    return bool(exact_limbs.are_double(getattr(layer, MERGED_LATER)[:, 1:].numpy()))


def sums_of(layer: Any, *, double: bool) -> tuple[int, Int64Array]:
    """Return how many values a channel has, and their limbs."""
    sums: Int64Array = getattr(layer, MERGED_LATER).numpy()
    limbs = exact_limbs.carried(np.ascontiguousarray(sums[:, 1:]))
    if double and not exact_limbs.are_double(limbs):
        limbs = exact_limbs.as_double(limbs)
    return int(sums[0, 0]), limbs


def drop(layer: Any) -> None:
    """Forget all sums, and that a pass has failed."""
    sums: torch.Tensor = getattr(layer, MERGED_LATER)
    if is_double(layer):
        setattr(layer, MERGED_LATER, nothing(len(sums)))
    else:
        sums.zero_()  # a compiled graph knows this tensor
    vars(layer).pop(FAILURE, None)


def _as_double(sums: torch.Tensor) -> torch.Tensor:
    limbs = exact_limbs.as_double(np.ascontiguousarray(sums[:, 1:].numpy()))
    return kept(limbs, int(sums[0, 0]))
