"""Why no subject can be made of a target: what `backnorm.host` tells, as the error of the audit."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["no_subject"]

ERRORS: Final[Mapping[str, Callable[..., SubjectError]]] = {
    "colons": SubjectError.two_colons,
    "file": SubjectError.no_file,
    "other file": SubjectError.other_file,
    "module": SubjectError.not_importable,
    "relative import": SubjectError.relative_import,
    "backend": SubjectError.no_backend,
    "ended": SubjectError.import_ended,
    "name": SubjectError.no_name,
    "not constructed": SubjectError.not_constructed,
    "no device": SubjectError.no_device,
    "no devices": SubjectError.no_devices,
    "no value": SubjectError.no_value,
    "no x": SubjectError.no_x,
    "signature": SubjectError.no_signature,
    "half a pair": SubjectError.half_a_pair,
    "whole module": SubjectError.whole_module,
    "unreadable": SubjectError.unreadable,
    "no norms": SubjectError.no_norms,
    "no norm": SubjectError.no_norm,
    "unknown class": SubjectError.unknown_class,
    "unknown object": SubjectError.unknown_object,
}
"""The error of each reason, which takes what is told of it by name."""


def no_subject(name: str, why: str, told: Mapping[str, Any], python: str = "") -> SubjectError:
    """Return the error of a target that nothing can be audited of.

    Parameters
    ----------
    name
        The target.
    why, told
        As of `backnorm.host.no_subject.NoSubject`.
    python
        The interpreter that was to run it; empty for this one.
    """
    if why != "import":
        return ERRORS[why](name, **told)
    got, missing = told["got"], told["missing"]
    if missing:
        return SubjectError.missing_module(name, got, missing, python or sys.executable)
    return SubjectError.import_raised(name, got, told["place"])
