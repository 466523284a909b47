"""Whose error an exception is: the subject's, or the audit's own."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backnorm.errors import SubjectError
from backnorm.errors.causes import FailedCall
from backnorm.host.raised import place_of

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["blamed"]

SUBJECTS_SIDE: Final = (
    "backnorm.host",
    "backnorm.audit.subjects.runner",
    "backnorm.cli._hosts",
    "backnorm.cli._programs",
    "backnorm.cli._remote",
    "backnorm.torch.model.reruns",
)
"""Code that calls a subject: what is raised within it comes from the subject."""


def blamed(name: str, error: Exception) -> SubjectError:
    """Return the error about a subject that an exception stands for.

    Parameters
    ----------
    name
        The subject.
    error
        What was raised, as it was caught: with its traceback.

    Returns
    -------
    SubjectError
        The same if it is one. Otherwise an error of the subject if code that calls subjects was at
        work, and else the audit's own, with the place in its code.
    """
    if isinstance(error, SubjectError):
        return error
    if any(_on_subjects_side(module) for module in _modules(error.__traceback__)):
        return SubjectError.raised(name, error, FailedCall(place=place_of(error)))
    return SubjectError.audit_raised(name, error, _place(error))


def _modules(trace: TracebackType | None) -> list[str]:
    """Return the modules of the frames that an exception has passed."""
    return [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(trace)]


def _on_subjects_side(module: str) -> bool:
    return any(f"{module}.".startswith(f"{known}.") for known in SUBJECTS_SIDE)


def _place(error: Exception) -> str:
    """Return the innermost place in the code of the audit: file, line and function."""
    own = str(Path(__file__).parents[2])
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(own)]
    last = frames[-1]
    return f"{Path(last.filename).name}, line {last.lineno}, in {last.name}"
