"""The five kinds of normalization: which values share statistics, and how gamma broadcasts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Float64Array, Shape

__all__ = ["KINDS", "Geometry", "Kind", "geometry", "has_mean"]

Kind: TypeAlias = Literal["batch", "layer", "group", "instance", "rms"]

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Geometry:
    """How x is split into rows that share their statistics.

    Attributes
    ----------
    shape
        Shape of x.
    split
        Shape that x is viewed in first; it differs from `shape` for groups of channels only.
    reduced
        Axes of the split shape that the statistics are taken over.
    parameter_view
        Shape in which gamma and beta broadcast against the split shape.
    """

    shape: Shape
    split: Shape
    reduced: tuple[int, ...]
    parameter_view: Shape

    @property
    def n(self) -> int:
        """How many values share their statistics."""
        return math.prod(self.split[axis] for axis in self.reduced)

    def rows(self, array: AnyArray) -> Float64Array:
        """View an array of x's shape as (R, n), one row for each set of statistics."""
        split = np.asarray(array, dtype=np.float64).reshape(self.split)
        return np.moveaxis(split, self.reduced, self._last()).reshape(-1, self.n)

    def from_rows(self, rows: Float64Array) -> Float64Array:
        """Put rows back into the shape of x: the inverse of `rows`."""
        row_lengths = [n for axis, n in enumerate(self.split) if axis not in self.reduced]
        lengths = [self.split[axis] for axis in self.reduced]
        split = np.moveaxis(rows.reshape(row_lengths + lengths), self._last(), self.reduced)
        return np.ascontiguousarray(split).reshape(self.shape)

    def spread(self, parameter: AnyArray | None, default: float) -> Float64Array:
        """Rows of a parameter, one value for each element of x; `default` without a parameter."""
        if parameter is None:
            return self.rows(np.full(self.shape, default))
        return self.rows(np.broadcast_to(parameter.reshape(self.parameter_view), self.split))

    def _last(self) -> tuple[int, ...]:
        return tuple(range(-len(self.reduced), 0))


def has_mean(kind: Kind) -> bool:
    """Whether layers of this kind subtract a mean."""
    return kind != "rms"


def geometry(
    kind: Kind,
    shape: Shape,
    parameter_shape: Shape,
    groups: int = 1,
    channels: int | None = None,
) -> Geometry:
    """Return how x of a given shape is split into rows for a kind of normalization.

    Parameters
    ----------
    kind
        The kind of normalization.
    shape
        Shape of x, ``(N, C, *S)``; for layer and rms ``(N, *T, *parameter_shape)``.
    parameter_shape
        Shape of gamma and beta; for layer and rms the shape that is normalized over. Groups may
        have one value for each channel or one for each group.
    groups
        Number of groups of channels; used for kind "group" only.
    channels
        Which axis of x has the channels, for layer and rms the first axis that is normalized over;
        None for the usual axis.

    Returns
    -------
    Geometry
        The rows and the place of gamma.

    Examples
    --------
    >>> geometry("batch", (8, 3, 2, 2), (3,)).n
    32
    >>> geometry("group", (8, 6, 2, 2), (6,), groups=3).n
    8
    >>> geometry("layer", (8, 3, 2, 2), (3,), channels=1).reduced
    (1,)
    """
    ndim = len(shape)
    if kind in ("layer", "rms"):
        first = ndim - len(parameter_shape) if channels is None else channels % ndim
        last = first + len(parameter_shape)
        view = (1,) * first + parameter_shape + (1,) * (ndim - last)
        return Geometry(shape, shape, tuple(range(first, last)), view)
    at = 1 if channels is None else channels % ndim
    before, after = (1,) * at, (1,) * (ndim - at - 1)
    if kind in ("batch", "instance"):
        reduced = tuple(axis for axis in range(kind == "instance", ndim) if axis != at)
        return Geometry(shape, shape, reduced, (*before, shape[at], *after))
    split = (*shape[:at], groups, shape[at] // groups, *shape[at + 1 :])
    per_group = math.prod(parameter_shape) == groups
    view = (*before, groups, 1 if per_group else shape[at] // groups, *after)
    reduced = tuple(axis for axis in range(1, len(split)) if axis != at)
    return Geometry(shape, split, reduced, view)
