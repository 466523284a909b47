"""What each rank gets: parts of one batch, whose means and scales differ from rank to rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.ranks.world import RankCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm._types import AnyArray
    from backnorm.audit.subject import Subject

__all__ = ["even", "joined", "masked", "padded", "parts_of", "uneven", "with_empty", "with_none"]

SHARES: Final = (0.9, 0.5)
"""Share of what counts on the first rank, and on the others."""


def even(ranks: int) -> list[int]:
    """Return how many samples each rank has: as many as every other."""
    return [6] * ranks


def uneven(ranks: int) -> list[int]:
    """Return how many samples each rank has: the first one more."""
    return [9] + [4] * (ranks - 1)


def with_empty(ranks: int) -> list[int]:
    """Return how many samples each rank has: the last one none."""
    return [6] * (ranks - 1) + [0]


def parts_of(subject: Subject, rng: np.random.Generator, sizes: Sequence[int]) -> list[RankCall]:
    """Draw a batch and cut it; the mean and the scale of a part are its own."""
    inputs = draw_inputs(subject, rng, "float32", batch=sum(sizes))
    ends = np.cumsum(sizes)[:-1]
    xs, dys = np.split(inputs.x, ends), np.split(inputs.dy, ends)
    return [
        RankCall((x * (1 + rank / 2) + 3 * rank).astype(np.float32), dy, inputs.gamma, inputs.beta)
        for rank, (x, dy) in enumerate(zip(xs, dys, strict=True))
    ]


def joined(parts: Sequence[RankCall]) -> RankCall:
    """Return the whole batch, as one rank has it."""
    first = parts[0]
    masks = [part.mask for part in parts if part.mask is not None]
    return first._replace(
        x=np.concatenate([part.x for part in parts]),
        dy=np.concatenate([part.dy for part in parts]),
        mask=np.concatenate(masks) if masks else None,
    )


def masked(parts: Sequence[RankCall], rng: np.random.Generator) -> list[RankCall]:
    """Add masks of shape (N, *S): more counts on the first rank than on the others."""
    return [
        part._replace(mask=rng.random(_of_space(part.x)) < SHARES[rank > 0])
        for rank, part in enumerate(parts)
    ]


def padded(parts: Sequence[RankCall]) -> list[RankCall]:
    """Give all parts one length: samples of 0 come behind, which a mask hides."""
    longest = max(len(part.x) for part in parts)
    return [_longer(part, longest) for part in parts]


def _longer(part: RankCall, samples: int) -> RankCall:
    missing = samples - len(part.x)
    x, dy = (
        np.concatenate([given, np.zeros((missing, *given.shape[1:]), given.dtype)])
        for given in (part.x, part.dy)
    )
    mask = np.ones(_of_space(x), np.bool_)
    mask[len(part.x) :] = False
    return part._replace(x=x, dy=dy, mask=mask)


def with_none(parts: Sequence[RankCall]) -> list[RankCall]:
    """Let nothing count on the last rank."""
    last = parts[-1]
    return [*parts[:-1], last._replace(mask=np.zeros(_of_space(last.x), np.bool_))]


def _of_space(x: AnyArray) -> tuple[int, ...]:
    return (len(x), *x.shape[2:])
