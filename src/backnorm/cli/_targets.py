"""From the text of a target to subjects. Runs in the child: it imports foreign code."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from backnorm.audit.subjects.no_subject import no_subject
from backnorm.audit.subjects.registry import layers_of, subjects_of
from backnorm.audit.subjects.request import AuditRequest
from backnorm.errors import NotInstalledError, SubjectError
from backnorm.host.calls import FRAMEWORKS
from backnorm.host.find import find
from backnorm.host.no_subject import NoSubject

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm.audit.subject import Subject
    from backnorm.audit.subjects.request import Modes

__all__ = ["TARGETS", "as_asked", "asked_of", "find_subjects", "is_installed", "place_of"]

PLACES: Final = {
    "engine": "backnorm.audit.subjects.engine:ENGINE",
    "specimens": "backnorm.audit.specimens:PAIRS",
}
"""Targets of this package that are a word, and where their pairs are."""

TARGETS: Final = (*PLACES, *FRAMEWORKS)
"""Targets that are a word."""


def is_installed(package: str) -> bool:
    """Whether a package is there, without importing it."""
    return importlib.util.find_spec(package) is not None


def place_of(target: str) -> str:
    """Return where a target is: what `backnorm.host.find` takes, or a framework."""
    return PLACES.get(target, target)


def asked_of(target: str, request: AuditRequest) -> AuditRequest:
    """Return what is asked of a target: the pairs of this package say themselves what they are.

    Of others both modes are asked for where one was chosen. Whether they do the same decides their
    names, which must not depend on the chosen mode; `as_asked` leaves the other mode out.
    """
    if target in PLACES:
        return AuditRequest(device=request.device)
    return replace(request, name=target, modes=_modes_to_try(request))


def _modes_to_try(request: AuditRequest) -> Modes:
    return "both" if request.modes in ("train", "eval") else request.modes


def as_asked(
    target: str, request: AuditRequest, subjects: tuple[Subject, ...]
) -> tuple[Subject, ...]:
    """Choose the mode, and tell the verdicts of specimens."""
    if target == "specimens":
        from backnorm.audit.specimens import as_specimens

        subjects = as_specimens(subjects)
    other = {"train": "eval", "eval": "train"}.get(request.modes)
    return tuple(one for one in subjects if other is None or one.call != other) or subjects


def find_subjects(
    target: str, request: AuditRequest, at_work: Callable[[str], object] = lambda _: None
) -> tuple[Subject, ...]:
    """Make subjects of a target.

    Parameters
    ----------
    target
        engine, specimens, a framework, package.module:Name, package.module.Name, or
        path/to/file.py:Name.
    request
        What is asked for.
    at_work
        Called with the name of each subject before it is tried.

    Returns
    -------
    tuple of Subject
        At least one.

    Raises
    ------
    SubjectError
        If the target does not import, or is nothing that can be audited.
    """
    if target in FRAMEWORKS:
        return _layers(target, request, at_work)
    try:
        found = find(place_of(target), TARGETS)
    except NoSubject as error:
        raise no_subject(target, error.why, error.told) from error
    return as_asked(target, request, subjects_of(found, asked_of(target, request), at_work))


def _layers(
    framework: str, request: AuditRequest, at_work: Callable[[str], object]
) -> tuple[Subject, ...]:
    try:
        modes = _modes_to_try(request)
        layers = layers_of(framework, modes, at_work, place=request.place, device=request.device)
        return as_asked(framework, request, layers)
    except NotInstalledError as error:
        raise SubjectError.not_installed(framework, error) from error
