"""The audit of a model that a target names: build it, draw its inputs, audit it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from backnorm.errors import SubjectError
from backnorm.torch.model.audit import audit_model
from backnorm.torch.model.inputs import draw_inputs, guess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backnorm.audit.record import Record
    from backnorm.audit.subjects.adapter import Arguments
    from backnorm.torch.model.inputs import Shaped

__all__ = ["audit_model_target"]


def audit_model_target(
    found: Any,
    shapes: Sequence[Shaped],
    arguments: Arguments,
    name: str,
    at_work: Callable[[str], object],
) -> tuple[Record, ...]:
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
    at_work
        Called with the name of each layer before it is measured.

    Returns
    -------
    tuple of Record
        As of `audit_model`.

    Raises
    ------
    SubjectError
        If the target is not a model, if the model cannot be built or run, or if its input cannot be
        guessed.
    """
    model, inputs = _built(found, arguments, name)
    if inputs is not None and not shapes:
        return audit_model(model, inputs, name=name, at_work=at_work)
    if shapes:
        return _audit_drawn(model, shapes, name, at_work)
    shaped, layer = guess(model, name)
    first, *others = _audit_drawn(model, [shaped], name, at_work)
    note = f"The input of shape {shaped.shape} is a guess from {layer}; set another with --input."
    return (replace(first, notes=(*first.notes, note)), *others)


def _audit_drawn(
    model: nn.Module, shapes: Sequence[Shaped], name: str, at_work: Callable[[str], object]
) -> tuple[Record, ...]:
    return audit_model(model, draw_inputs(model, shapes), name=name, drawn=True, at_work=at_work)


def _built(found: Any, arguments: Arguments, name: str) -> tuple[nn.Module, Any]:
    """Return the model, and the inputs that came with it or None."""
    target = found
    if not isinstance(found, nn.Module) and callable(found):
        try:
            target = (
                found(**arguments) if isinstance(arguments, dict) else found(*(arguments or ()))
            )
        except Exception as error:
            raise SubjectError.cannot_build(name, repr(arguments or ()), error) from error
    is_pair = isinstance(target, tuple) and len(target) == 2  # noqa: PLR2004
    model, inputs = target if is_pair else (target, None)
    if not isinstance(model, nn.Module):
        raise SubjectError.no_model(name, target)
    return model, tuple(inputs) if isinstance(inputs, list) else inputs
