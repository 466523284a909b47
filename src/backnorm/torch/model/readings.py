"""Over what a layer of a model may normalize: the kinds and orders of axes that are tried.

The kinds and orders are those of `backnorm.audit.subjects.search`. A model gives x a shape, so each
of them is tried on that x, and the first whose rows explain y is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backnorm.audit.kinds import geometry
from backnorm.audit.subjects.axes import read_axes
from backnorm.audit.subjects.search import CANDIDATES, PER_GROUP, STORED
from backnorm.host.calls.torch_modules import stored_shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm._types import Shape
    from backnorm.audit.kinds import Geometry, Kind
    from backnorm.audit.subjects.search import Candidate
    from backnorm.torch.model.layers import Layer

__all__ = ["Reading", "readings", "usual_reading"]

OTHER_AXES: Final = {2: "", 3: "T", 4: "HW", 5: "DHW"}
"""Letters of the axes beside samples and channels, by the number of axes."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A kind, and how x is divided into rows.

    Attributes
    ----------
    kind
        The kind.
    geometry
        The rows.
    axes
        The order of axes in letters; empty for what the name of the layer says.
    """

    kind: Kind
    geometry: Geometry
    axes: str = ""

    @property
    def note(self) -> str:
        """What is worth knowing about it; empty for what the name of the layer says."""
        if not self.axes:
            return ""
        return f"It was judged as kind {self.kind} with axes {self.axes}, which fits its output."


def usual_reading(layer: Layer, shape: Shape) -> Reading | None:
    """Return what the name of a layer says; None where x or its parameters have no such shape."""
    kind, stored = layer.kind, _stored(layer)
    if kind in ("layer", "rms"):
        own = stored or tuple(getattr(layer.inner, "normalized_shape", shape[-1:]))
        fits = shape[len(shape) - len(own) :] == own
        return Reading(kind, geometry(kind, shape, own)) if fits else None
    groups = _groups(layer) or 1
    if len(shape) < 2 or shape[1] % groups:  # noqa: PLR2004 - samples and channels
        return None
    where = geometry(kind, shape, (math.prod(stored),), groups)
    return Reading(kind, where) if _takes(where, layer) else None


def readings(layer: Layer, shape: Shape) -> Iterator[Reading]:
    """Yield what a layer may normalize over: what its name says, then all others.

    Parameters
    ----------
    layer
        The layer.
    shape
        Shape of x.

    Yields
    ------
    Reading
        Each division into rows once for each kind.
    """
    usual, seen = usual_reading(layer, shape), []
    if usual is not None:
        seen.append((usual.kind, usual.geometry))
        yield usual
    if layer.is_stock:
        return
    for candidate in sorted(CANDIDATES, key=lambda one: one.kind != layer.kind):
        for where in _geometries(candidate, layer, shape):
            if (candidate.kind, where) not in seen and where.n > 1 and _takes(where, layer):
                seen.append((candidate.kind, where))
                last = read_axes(candidate.axes).channels == -1
                others = OTHER_AXES.get(len(shape), "...")
                yield Reading(candidate.kind, where, f"N{others}C" if last else f"NC{others}")


def _geometries(candidate: Candidate, layer: Layer, shape: Shape) -> Iterator[Geometry]:
    kind, stored = candidate.kind, _stored(layer)
    if candidate.parameters == STORED:
        own = stored or shape[-1:]
        if len(own) < len(shape) and shape[len(shape) - len(own) :] == own:
            yield geometry(kind, shape, own)
        return
    channels = read_axes(candidate.axes).channels
    if len(shape) < 2:  # noqa: PLR2004 - samples and channels
        return
    count = shape[channels]
    if kind != "group":
        own = (count,) if kind in ("layer", "rms") else (math.prod(stored),)
        yield geometry(kind, shape, own, channels=channels)
        return
    per_group = candidate.parameters == PER_GROUP
    own = (math.prod(stored),) if stored else (count,)
    for groups in own if per_group else _numbers_of_groups(layer, count):
        if groups < count and count % groups == 0:
            yield geometry(kind, shape, own, groups, channels)


def _numbers_of_groups(layer: Layer, channels: int) -> Iterator[int]:
    """Yield the number of groups that a layer tells, or else all that divide the channels.

    The fewest come first: where y is a line in few groups, it is in every finer division too.
    """
    told = _groups(layer)
    yield from [told] if told else (g for g in range(1, channels) if channels % g == 0)


def _groups(layer: Layer) -> int:
    told = getattr(layer.inner, "num_groups", getattr(layer.inner, "groups", 0))
    return told if isinstance(told, int) else 0


def _stored(layer: Layer) -> Shape:
    """Return the shape of gamma and beta without axes of length 1, as in (1, C, 1, 1)."""
    stored = stored_shape(layer.inner)
    return tuple(length for length in stored if length != 1) or stored[:1]


def _takes(where: Geometry, layer: Layer) -> bool:
    """Whether gamma and beta have a value for each place that the rows have for them."""
    size = math.prod(where.parameter_view)
    return all(p.numel() in (1, size) for p in layer.parameters.values())
