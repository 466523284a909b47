"""Follow a network from a dense layer back to the map that was flattened before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["NO_MAP", "TraceStep", "channels_before"]

NO_MAP: Final = 0
"""A dense layer reads another one's output, or a vector: each row is a channel."""


@dataclass(frozen=True, slots=True)
class TraceStep:
    """What a layer does to the channels of its input.

    Attributes
    ----------
    role
        "same" leaves each value in its place; "keeps" leaves the number of channels, as pooling
        does; "flatten" makes a vector of a map; "vector" writes a vector; "map" writes `channels`
        channels; "concat" joins its inputs' channels; "other" does anything else.
    inputs
        The names of the steps that it reads.
    channels
        How many it writes, for "map"; None if that is not told.
    """

    role: str
    inputs: tuple[str, ...] = ()
    channels: int | None = None


def channels_before(steps: Mapping[str, TraceStep], name: str, *, flattens: bool) -> int | None:
    """Return how many channels the map had whose values a dense layer reads.

    Parameters
    ----------
    steps
        The network, by the steps' names.
    name
        The step that the dense layer reads.
    flattens
        Whether the dense layer itself flattens a map, as Caffe's does.

    Returns
    -------
    int or None
        `NO_MAP` where no map was flattened; None where that cannot be told.
    """
    seen: set[str] = set()
    while not flattens and name not in seen:
        seen.add(name)
        step = steps.get(name, TraceStep("other"))
        if step.role == "vector":
            return NO_MAP
        if step.role == "flatten":
            flattens = True
        elif step.role in {"keeps", "concat"}:
            return NO_MAP if _all_vectors(steps, step.inputs) else None
        elif step.role != "same":
            return None
        name = next(iter(step.inputs), "")
    return _channels(steps, name, frozenset()) if flattens else None


def _all_vectors(steps: Mapping[str, TraceStep], names: Iterable[str]) -> bool:
    """Return whether all steps are vectors, or are made of vectors alone."""
    waiting, seen = list(names), set(names)
    if not waiting:
        return False
    while waiting:
        step = steps.get(waiting.pop(), TraceStep("other"))
        if step.role == "vector":
            continue
        if step.role not in {"same", "keeps", "concat"} or not step.inputs:
            return False
        waiting += set(step.inputs) - seen
        seen.update(step.inputs)
    return True


def _channels(steps: Mapping[str, TraceStep], name: str, seen: frozenset[str]) -> int | None:
    """Return how many channels a step writes."""
    total = 0
    while name not in seen:
        seen |= {name}
        step = steps.get(name, TraceStep("other"))
        if step.role == "vector":
            return NO_MAP
        if step.role == "map":
            return step.channels
        if step.role == "concat":
            for branch in step.inputs:
                channels = _channels(steps, branch, seen)
                if not channels:
                    return None
                total += channels
            return total or None
        if step.role not in {"same", "keeps", "flatten"}:
            return None
        name = next(iter(step.inputs), "")
    return None
