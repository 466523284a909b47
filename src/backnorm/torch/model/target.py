"""The audit of a model that a target names: build it, draw its inputs, audit it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from backnorm.errors import SubjectError
from backnorm.host.raised import place_of
from backnorm.torch.model.audit import audit_layers
from backnorm.torch.model.inputs import HERE, draw_inputs, guess

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backnorm.audit.record import Record
    from backnorm.audit.subjects.request import Arguments
    from backnorm.torch.model.audit import Course
    from backnorm.torch.model.inputs import Shaped

__all__ = ["audit_model_target"]


def audit_model_target(
    found: Any,
    shapes: Sequence[Shaped],
    arguments: Arguments,
    name: str,
    course: Course,
) -> Iterator[Record]:
    """Audit every normalization layer of the model that a target names.

    Parameters
    ----------
    found
        A module, or a pair of a module and its inputs, or a callable that returns either.
    shapes
        The inputs to draw; if empty, the inputs that came with the model are used, else a guess.
    arguments
        The arguments of the callable.
    name
        Name of the model in the report.
    course
        Who follows the audit, and how far an earlier process came with it.

    Yields
    ------
    Record
        As of `audit_model`, each as soon as it is known.

    Raises
    ------
    SubjectError
        If the target is not a model, if the model cannot be built or run, or if its input cannot be
        guessed.
    """
    model, inputs = _built(found, arguments, name)
    if inputs is not None and not shapes:
        yield from audit_layers(model, inputs, name=name, drawn=False, course=course)
        return
    note = ""
    if not shapes:
        shaped, layer = guess(model, name)
        note = (
            f"The input of shape {shaped.shape} is a guess from {layer}; set another with --input."
        )
        shapes = [shaped]
    inputs = draw_inputs(model, shapes)
    for record in audit_layers(model, inputs, name=name, drawn=True, course=course):
        # In the first record of all: an earlier process has said it.
        said = (note,) if note and not course.done else ()
        yield replace(record, notes=(*record.notes, *said))
        note = ""


def _built(found: Any, arguments: Arguments, name: str) -> tuple[nn.Module, Any]:
    """Return the model, and the inputs that came with it or None."""
    target = found
    if not isinstance(found, nn.Module) and callable(found):
        try:
            target = (
                found(**arguments) if isinstance(arguments, dict) else found(*(arguments or ()))
            )
        except Exception as error:
            place = place_of(error, HERE)
            raise SubjectError.not_built(name, repr(arguments or ()), error, place) from error
    is_pair = isinstance(target, tuple) and len(target) == 2  # noqa: PLR2004
    model, inputs = target if is_pair else (target, None)
    if not isinstance(model, nn.Module):
        raise SubjectError.no_model(name, target)
    return model, tuple(inputs) if isinstance(inputs, list) else inputs
