"""Subjects from specs: what `backnorm.host` makes, here or in another process, for the audit."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from backnorm.audit.subject import Subject
from backnorm.audit.subjects.fitting import distinct, fitted
from backnorm.audit.subjects.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

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
        subjects += distinct([_subject_of(spec) for spec in group])
    return tuple(subjects)


def _subject_of(spec: Mapping[str, Any]) -> Subject:
    shape = tuple(spec["parameter_shape"])
    sample = spec["sample_shape"]
    subject = Subject(
        name=spec["name"],
        kind=spec["kind"],
        runner=Runner(spec["runner"], frozenset(spec["can"])),
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
    return fitted(subject) if sample is None else subject
