"""Subjects from specs: what `backnorm.host` makes, here or in another process, for the audit."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from backnorm.audit.kinds import KINDS
from backnorm.audit.subject import Subject
from backnorm.audit.subjects.axes import read_axes
from backnorm.audit.subjects.fitting import better, distinct, fit, fit_as_it_is, taken
from backnorm.audit.subjects.runner import Runner
from backnorm.audit.subjects.search import NOTHING_FITS, RUNS_WITH, search
from backnorm.errors import RangeError, SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from backnorm.audit.subjects.axes import Axes
    from backnorm.audit.subjects.fitting import Fit

__all__ = ["subjects_from"]

GUESSED: Final = "It was constructed with {}, which the audit guessed. Pass others with --args."


ON_DEVICE: Final = "Its arrays were made on {}."


def subjects_from(
    specs: Iterable[Mapping[str, Any]], at_work: Callable[[str], object] = lambda _: None
) -> tuple[Subject, ...]:
    """Make subjects of specs, and find out what is not known of them by trying.

    Parameters
    ----------
    specs
        What `backnorm.host.specs` made; specs of one name are one object in several modes.
    at_work
        Called with the name of what is tried.

    Returns
    -------
    tuple of Subject
        In the same order; one only where the modes of an object do the same.
    """
    subjects: list[Subject] = []
    for name, group in itertools.groupby(specs, lambda spec: str(spec["name"])):
        at_work(name)
        # Each step has its own time: where a mode took all of it, the next one says so too.
        made = _modes_of(list(group), partial(at_work, name))
        at_work(name)
        subjects += distinct(made)
    return tuple(subjects)


def _modes_of(specs: Sequence[Mapping[str, Any]], at_work: Callable[[], object]) -> list[Subject]:
    """Make the subjects of one object: as what the first was found, its other modes are audited.

    So are they where nothing had to be found, and they suit what the first was taken for.
    """
    first, found = _subject_of(specs[0])
    subjects = [first]
    for spec in specs[1:]:
        at_work()
        subjects.append(_other_mode(spec, first, found=found))
    guessed = specs[0].get("guessed", "")
    notes: tuple[str, ...] = (GUESSED.format(guessed),) if guessed else ()
    device = specs[0].get("device", "")
    notes += (ON_DEVICE.format(device),) if device else ()
    return [replace(subject, notes=(*subject.notes, *notes)) for subject in subjects]


def _other_mode(spec: Mapping[str, Any], first: Subject, *, found: bool) -> Subject:
    """Return the subject of an object in another mode."""
    same = _in_mode_of(spec, first)
    if found:
        return same
    return replace(same, notes=(), misfit="") if fit_as_it_is(same).suits else _subject_of(spec)[0]


def _in_mode_of(spec: Mapping[str, Any], first: Subject) -> Subject:
    runner = replace(first.runner, inner=spec["runner"], can=frozenset(spec["can"]))
    return replace(first, runner=runner, call=spec["call"])


def _subject_of(spec: Mapping[str, Any]) -> tuple[Subject, bool]:
    """Return a subject, and whether it was found to be another than its spec says."""
    axes, sample, subject = _axes_of(spec), spec["sample_shape"], _plain_subject(spec)
    if sample is not None:
        misfit = _misfit(spec, subject, fit_as_it_is(subject)) if spec["asked"] else ""
        return replace(subject, misfit=misfit), False
    usual = fit(subject, axes)
    # Two axes alone do not show where a subject of images or sequences has its channels.
    if usual.suits and not (usual.is_flat and axes is None):
        return taken(usual), False
    kinds = (subject.kind,) if spec["given"] or usual.suits else KINDS
    stored = tuple(spec["stored"])
    found = search(subject, kinds, axes, stored)
    if found is not None and found.suits:
        note = f"It was judged with {found.options}, which fits its forward pass."
        return replace(taken(found), notes=(note,)), True
    by_channels = None if usual.ran or found is not None else _by_channels(spec)
    if by_channels is not None and fit(_plain_subject(by_channels), axes).ran:
        return _subject_of(by_channels)
    if not usual.ran and (spec["given"] or axes is not None):
        other = search(subject, KINDS, None, stored)
        fits = other is not None and other.suits
        notes = (RUNS_WITH.format(other.options),) if other and fits else ()
        return replace(taken(usual), notes=notes), False
    if found is not None:
        usual = better(usual, found)
    misfit = _misfit(spec, subject, usual) if spec["asked"] else ""
    silent = misfit or usual.suits or usual.explained or not usual.ran
    notes = () if silent else (NOTHING_FITS,)
    return replace(taken(usual), notes=notes, misfit=misfit), False


def _plain_subject(spec: Mapping[str, Any]) -> Subject:
    """Return the subject of a spec as it stands there, with nothing tried."""
    shape, sample = tuple(spec["parameter_shape"]), spec["sample_shape"]
    axes = _axes_of(spec)
    return Subject(
        name=spec["name"],
        kind=spec["kind"],
        runner=Runner(
            spec["runner"], frozenset(spec["can"]), axes.moved(spec["kind"]) if axes else None
        ),
        sample_shape=shape if sample is None else tuple(sample),
        parameter_shape=shape,
        has_gamma=spec["has_gamma"],
        has_beta=spec["has_beta"],
        dtypes=tuple(spec["dtypes"]),
        call=spec["call"],
        groups=spec["groups"],
        optional=spec["optional"],
        version=spec["version"],
        parts=spec.get("parts", 0),
        notes=tuple(spec.get("notes", ())),
        forward_only=spec.get("forward_only", ""),
        declared=dict(spec.get("declared", {})),
        stated_in=spec.get("stated_in", ""),
    )


def _by_channels(spec: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a spec without gamma and beta; None if there is one value of them for each channel.

    What is called gamma may have several values for each of the channels that a layer was made for,
    as the weights of a gate have: then it is a parameter like any other.
    """
    channels, own = spec.get("channels", 0), math.prod(spec["parameter_shape"])
    if not channels or own == channels or own % channels:
        return None
    shape = {"parameter_shape": (channels,), "stored": (channels,)}
    return {**spec, **shape, "has_gamma": False, "has_beta": False, "channels": 0}


def _misfit(spec: Mapping[str, Any], subject: Subject, as_asked: Fit) -> str:
    """Say that a subject is not what the user said, and what fits; empty where it may be so.

    A derivative that agrees with dx does not show that the rows are those of the kind. So where the
    user names the kind or the axes, and y is not a line in x in these rows or follows the law of
    others, a yes would say more than was measured. Where nothing was named, a yes is about the
    derivative alone, and the note says that the paths were not measured.
    """
    if as_asked.suits or not as_asked.ran:
        return ""
    stored = tuple(spec.get("stored", subject.parameter_shape))
    other = search(
        replace(subject, runner=replace(subject.runner, moved=None)), KINDS, None, stored
    )
    fits = other is not None and other.suits
    if as_asked.explained and not fits:
        return ""
    of_kind = f" of kind {subject.kind}" if spec["given"] else " of any kind"
    over = f"the axes {spec['axes']}" if spec["axes"] else "the axes that were tried"
    what = f"it is not a normalization{of_kind} over {over}"
    return f"{what}; it fits {other.options}" if other and fits else f"{what}; no other fits"


def _axes_of(spec: Mapping[str, Any]) -> Axes | None:
    """Return the order of axes of a spec; an order that was asked for has been read before."""
    try:
        return read_axes(spec["axes"]) if spec["axes"] else None
    except RangeError as error:
        raise SubjectError.axes(spec["name"], error) from error
