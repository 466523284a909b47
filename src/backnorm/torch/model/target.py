"""From what a target names to the audit of a whole model."""

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
    from backnorm.audit.subjects.request import Arguments
    from backnorm.torch.model.inputs import Shaped

__all__ = ["audit_model_target"]


def audit_model_target(
    found: Any,
    shapes: Sequence[Shaped],
    arguments: Arguments,
    name: str,
    at_work: Callable[[str], object],
) -> tuple[Record, ...]:
    """Audit every normalization layer of a model that is given, or built.

    Parameters
    ----------
    found
        A module, or a callable that returns one, or a pair of one and its inputs.
    shapes
        The inputs to draw; empty for those that came with the model, else for a guess.
    arguments
        What to call it with.
    name
        What the report calls it.
    at_work
        Called with the name of each layer before it is measured.

    Returns
    -------
    tuple of Record
        As of `audit_model`.

    Raises
    ------
    SubjectError
        If there is no model, it cannot be built or run, or nothing tells what it takes.
    """
    model, own = _built(found, arguments, name)
    if own is not None and not shapes:
        return audit_model(model, own, name=name, at_work=at_work)
    shaped, place = (tuple(shapes), "") if shapes else _guessed(model, name)
    inputs = draw_inputs(model, shaped)
    records = audit_model(model, inputs, name=name, drawn=True, at_work=at_work)
    if not place:
        return records
    note = f"The input of shape {shaped[0].shape} is a guess by {place}: --input says another."
    return (replace(records[0], notes=(*records[0].notes, note)), *records[1:])


def _guessed(model: nn.Module, name: str) -> tuple[tuple[Shaped, ...], str]:
    shaped, place = guess(model, name)
    return (shaped,), place


def _built(found: Any, arguments: Arguments, name: str) -> tuple[nn.Module, Any]:
    """Return the model, and the inputs that came with it or None."""
    made = found
    if not isinstance(found, nn.Module) and callable(found):
        try:
            made = found(**arguments) if isinstance(arguments, dict) else found(*(arguments or ()))
        except Exception as error:
            raise SubjectError.cannot_build(name, repr(arguments or ()), error) from error
    model, own = made if isinstance(made, tuple) and len(made) == 2 else (made, None)  # noqa: PLR2004
    if not isinstance(model, nn.Module):
        raise SubjectError.no_model(name, made)
    return model, tuple(own) if isinstance(own, list) else own
