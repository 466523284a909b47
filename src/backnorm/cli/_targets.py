"""From the text of a target to subjects. Runs in the child: it imports foreign code."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from backnorm.audit.subjects.registry import adapter_of, subjects_of
from backnorm.errors import NotInstalledError, SubjectError
from backnorm.host.calls import FRAMEWORKS
from backnorm.host.find import NotFound, find

if TYPE_CHECKING:
    from backnorm.audit.subject import Subject
    from backnorm.audit.subjects.adapter import Request

__all__ = ["TARGETS", "find_subjects", "is_installed"]

TARGETS: Final = ("engine", "specimens", *FRAMEWORKS)
"""Targets that are a word."""


def is_installed(package: str) -> bool:
    """Whether a package is there, without importing it."""
    return importlib.util.find_spec(package) is not None


def find_subjects(target: str, request: Request) -> tuple[Subject, ...]:
    """Make subjects of a target.

    Parameters
    ----------
    target
        engine, specimens, a framework, package.module:Name, package.module.Name, or
        path/to/file.py:Name.
    request
        What is asked for.

    Returns
    -------
    tuple of Subject
        At least one.

    Raises
    ------
    SubjectError
        If the target does not import, or is nothing that can be audited.
    """
    if target == "engine":
        from backnorm.audit.subjects.engine import engine_subjects

        return engine_subjects(request.calls)
    if target == "specimens":
        from backnorm.audit.specimens import specimen_subjects

        return specimen_subjects()
    if target in FRAMEWORKS:
        return _layers(target, request)
    try:
        found = find(target, TARGETS)
    except NotFound as error:
        raise SubjectError.not_importable(target, error.got, error.near) from error
    return subjects_of(found, replace(request, name=target))


def _layers(framework: str, request: Request) -> tuple[Subject, ...]:
    try:
        return adapter_of(framework).layers(request.calls)
    except NotInstalledError as error:
        raise SubjectError.not_installed(framework, error) from error
