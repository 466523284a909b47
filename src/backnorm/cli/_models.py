"""Targets that are whole models. This runs in the child: it imports foreign code."""

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
        The shape of each input, and for integers the number that they are below.
    arguments
        Arguments of the class or function.
    at_work
        Called with the name of each layer before it is measured.

    Returns
    -------
    tuple of Record
        A record for each layer that the model calls.

    Raises
    ------
    SubjectError
        If the target cannot be imported, is not a model, or does not run.
    """
    try:
        from backnorm.torch.model.inputs import Shaped
        from backnorm.torch.model.target import audit_model_target
    except NotInstalledError as error:
        raise SubjectError.not_installed(target, error) from error
    try:
        model = find(target, TARGETS)
    except NotFound as error:
        raise SubjectError.not_importable(target, error.got, error.near) from error
    shapes = [Shaped(tuple(given["shape"]), given["below"]) for given in inputs]
    return audit_model_target(model, shapes, arguments, target, at_work)
