"""The search for what a subject normalizes over, where the kind that its name says does not fit.

A subject whose y is not a line in x in each row has other rows: it is of another kind, or has its
axes in another order. So the common kinds and orders are tried, and one whose rows explain y is
taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from backnorm.audit.subjects.axes import read_axes
from backnorm.audit.subjects.fitting import fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm._types import Shape
    from backnorm.audit.kinds import Kind
    from backnorm.audit.subject import Subject
    from backnorm.audit.subjects.axes import Axes
    from backnorm.audit.subjects.fitting import Fit

__all__ = ["NOTHING_FITS", "RUNS_WITH", "search"]

NOTHING_FITS: Final = (
    "Its paths were not measured: with each kind and order of axes that was tried, y is not a line"
    " in x in each row. Pass --kind and --axes if it normalizes over other axes."
)


RUNS_WITH: Final = "It raises with the kind and axes that were given. Pass {}, which fits."
"""Note on a subject that does not run with the kind or the axes that were asked for."""

STORED: Final = "stored"
PER_GROUP: Final = "per group"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kind, and an order of axes.

    Attributes
    ----------
    kind
        The kind.
    axes
        As for --axes.
    parameters
        STORED: gamma has the axes that it is kept with. PER_GROUP: it has a value for each group.
    """

    kind: Kind
    axes: str
    parameters: str = ""


# The first that fits is taken. Where there are no parameters, two may have the same rows: (N, T, C)
# over T is both of kind instance with channels last and of kind layer with the channels second.
CANDIDATES: Final = (
    Candidate("batch", "NCHW"),
    Candidate("batch", "NCL"),
    Candidate("batch", "NHWC"),
    Candidate("batch", "NTC"),
    Candidate("layer", "NTC", STORED),
    Candidate("group", "NCHW", PER_GROUP),
    Candidate("instance", "NCHW"),
    Candidate("instance", "NCL"),
    Candidate("instance", "NTC"),
    Candidate("instance", "NHWC"),
    Candidate("layer", "NCHW"),
    Candidate("layer", "NCL"),
    Candidate("rms", "NTC", STORED),
    Candidate("rms", "NCHW"),
    Candidate("rms", "NCL"),
    Candidate("group", "NCHW"),
    Candidate("group", "NCL"),
    Candidate("group", "NHWC"),
    Candidate("group", "NTC"),
    Candidate("layer", "NC", STORED),
    Candidate("rms", "NC", STORED),
)


def search(subject: Subject, kinds: Sequence[Kind], axes: Axes | None, stored: Shape) -> Fit | None:
    """Try the common kinds and orders of axes.

    Parameters
    ----------
    subject
        A subject that does not fit the kind that it was taken for.
    kinds
        The kinds to try.
    axes
        The order of its axes; None if it is not known.
    stored
        The shape in which its parameters are kept.

    Returns
    -------
    Fit
        The subject as what it was found to be, with the options that say so. Where nothing fits,
        the first as which it gives what can be used; None without such a kind and order.
    """
    usable = None
    for one in CANDIDATES:
        usual = read_axes(one.axes)
        order = axes or usual
        if one.kind not in kinds or order.channels != usual.channels:
            continue
        per_parameter = 2 if one.parameters == PER_GROUP else 1
        found = fit(_as(subject, one, order, stored), order, per_parameter)
        if found.suits:
            return replace(found, options=f"--kind {one.kind} --axes {order.text}")
        usable = usable or (found if found.usable else None)
    return usable


def _as(subject: Subject, one: Candidate, axes: Axes, stored: Shape) -> Subject:
    """Return the subject as if it were of that kind, with its axes in that order."""
    shape = stored if one.parameters == STORED else (math.prod(stored),)
    return replace(
        subject,
        kind=one.kind,
        parameter_shape=shape,
        runner=replace(subject.runner, moved=axes.moved(one.kind)),
        groups=math.prod(stored) if one.parameters == PER_GROUP else subject.groups,
    )
