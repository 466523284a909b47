"""Targets that are whole models. This runs in the child: it imports foreign code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backnorm.audit.subjects.no_subject import no_subject
from backnorm.cli._targets import TARGETS
from backnorm.errors import NotInstalledError, SubjectError
from backnorm.host.find import find
from backnorm.host.no_subject import NoSubject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from backnorm.audit.record import Record
    from backnorm.audit.subjects.request import Arguments

__all__ = ["audit_target"]


def audit_target(
    target: str,
    inputs: Sequence[dict[str, Any]],
    arguments: Arguments,
    say: Callable[[dict[str, Any]], None],
    *,
    done: Mapping[str, bool],
    most: int | None,
) -> Iterator[Record]:
    """Audit the layers of a model.

    Parameters
    ----------
    target
        package.module:Name, package.module.Name, or path/to/file.py:Name.
    inputs
        The shape of each input, and for integers the number that they are below.
    arguments
        Arguments of the class or function.
    say
        Called with messages to the parent: which layer is called or measured, and how many were
        called.
    done
        Names of the layers that have a record already, and whether it says that dx is wrong.
    most
        After how many calls of layers the model's pass is cut; None for the whole pass.

    Yields
    ------
    Record
        A record for each other layer that the model calls, as soon as it is known.

    Raises
    ------
    SubjectError
        If the target cannot be imported, is not a model, or does not run.
    """
    try:
        from backnorm.torch.model.audit import Course
        from backnorm.torch.model.inputs import Shaped
        from backnorm.torch.model.target import audit_model_target
    except NotInstalledError as error:
        raise SubjectError.not_installed(target, error) from error
    try:
        model = find(target, TARGETS)
    except NoSubject as error:
        raise no_subject(target, error.why, error.told) from error
    shapes = [Shaped(tuple(given["shape"]), given["below"]) for given in inputs]
    course = Course(
        calling=lambda name: say({"starting": name}),
        called=lambda count: say({"starting": target, "calls": count}),
        measuring=lambda name, *place: say({"starting": name, "measuring": True, "place": place}),
        done=done,
        most=most,
    )
    yield from audit_model_target(model, shapes, arguments, target, course)
