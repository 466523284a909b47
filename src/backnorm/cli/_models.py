"""Targets that are whole models. Runs in the child: it imports foreign code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backnorm.cli._targets import TARGETS
from backnorm.errors import NotInstalledError, SubjectError
from backnorm.host.find import NotFound, find

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backnorm.audit.record import Record
    from backnorm.audit.subjects.request import Arguments

__all__ = ["audit_target"]


def audit_target(
    target: str,
    inputs: Sequence[dict[str, Any]],
    arguments: Arguments,
    at_work: Callable[[str], object],
) -> tuple[Record, ...]:
    """Audit the layers of a model.

    Parameters
    ----------
    target
        package.module:Name, package.module.Name, or path/to/file.py:Name.
    inputs
        Shape of each input, and the number that its integers are below, if it has integers.
    arguments
        What to call it with, if it is to be called.
    at_work
        Called with the name of each layer before it is measured.

    Returns
    -------
    tuple of Record
        One for each layer that is called.

    Raises
    ------
    SubjectError
        If the target does not import, is no model, or does not run.
    """
    try:
        from backnorm.torch.model.inputs import Shaped
        from backnorm.torch.model.target import audit_model_target
    except NotInstalledError as error:
        raise SubjectError.not_importable(target, str(error), ()) from error
    try:
        found = find(target, TARGETS)
    except NotFound as error:
        raise SubjectError.not_importable(target, error.got, error.near) from error
    shapes = [Shaped(tuple(one["shape"]), one["below"]) for one in inputs]
    return audit_model_target(found, shapes, arguments, target, at_work)
