"""Subjects from specs: what `backnorm.host` makes, here or in another process, for the audit."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from backnorm.audit.kinds import KINDS
from backnorm.audit.subject import Subject
from backnorm.audit.subjects.axes import read_axes
from backnorm.audit.subjects.fitting import better, distinct, fit, fit_as_it_is, taken
from backnorm.audit.subjects.runner import Runner
from backnorm.audit.subjects.search import NOTHING_FITS, search
from backnorm.errors import RangeError, SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from backnorm.audit.subjects.axes import Axes

__all__ = ["subjects_from"]


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
        subjects += distinct(_modes_of(list(group)))
    return tuple(subjects)


def _modes_of(specs: Sequence[Mapping[str, Any]]) -> list[Subject]:
    """Make the subjects of one object: as what the first was found, its other modes are audited.

    So are they where nothing had to be found, and they suit what the first was taken for.
    """
    first, found = _subject_of(specs[0])
    return [first, *(_other_mode(spec, first, found=found) for spec in specs[1:])]


def _other_mode(spec: Mapping[str, Any], first: Subject, *, found: bool) -> Subject:
    """Return the subject of an object in another mode."""
    same = _in_mode_of(spec, first)
    return same if found or fit_as_it_is(same).suits else _subject_of(spec)[0]


def _in_mode_of(spec: Mapping[str, Any], first: Subject) -> Subject:
    runner = replace(first.runner, inner=spec["runner"], can=frozenset(spec["can"]))
    return replace(first, runner=runner, call=spec["call"])


def _subject_of(spec: Mapping[str, Any]) -> tuple[Subject, bool]:
    """Return a subject, and whether it was found to be another than its spec says."""
    shape, sample = tuple(spec["parameter_shape"]), spec["sample_shape"]
    axes = _axes_of(spec)
    subject = Subject(
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
    )
    if sample is not None:
        return subject, False
    usual = fit(subject, axes)
    # Two axes alone do not show where a subject of images or sequences has its channels.
    if usual.suits and not (usual.is_flat and axes is None):
        return taken(usual), False
    kinds = (subject.kind,) if spec["given"] or usual.suits else KINDS
    found = search(subject, kinds, axes, tuple(spec["stored"]))
    if found is not None and found.suits:
        return taken(found), True
    if found is not None:
        usual = better(usual, found)
    silent = usual.suits or usual.explained or not usual.ran
    return replace(taken(usual), notes=() if silent else (NOTHING_FITS,)), False


def _axes_of(spec: Mapping[str, Any]) -> Axes | None:
    """Return the order of axes of a spec; an order that was asked for has been read before."""
    try:
        return read_axes(spec["axes"]) if spec["axes"] else None
    except RangeError as error:
        raise SubjectError.axes(spec["name"], error) from error
