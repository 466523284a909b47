"""The record of one call of a layer, from its measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings import fault
from backnorm.audit.record import Errors, Record
from backnorm.audit.thresholds import COEFFICIENT_LIMIT
from backnorm.errors import SubjectError
from backnorm.errors.causes import FailedCall
from backnorm.host.raised import place_of
from backnorm.torch.model.fit import FLAT
from backnorm.torch.model.inputs import HERE
from backnorm.torch.model.judge import few_values, findings_of, trainable
from backnorm.torch.model.readings import usual_reading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from backnorm.audit.record import Path
    from backnorm.torch.model.calls import LayerCall
    from backnorm.torch.model.fit import CallFit
    from backnorm.torch.model.judge import Measured

__all__ = ["WRONG_HERE", "record_of", "record_of_raised"]

WRONG_HERE = frozenset({"M04", "M05"})
"""Findings which say that dx of a layer is wrong."""

WRONG = WRONG_HERE | {"G13", "G14", "G19"}
"""Findings which say that a gradient of a layer is wrong."""


WENT_ON: Final = "The layers behind it were audited with its x in place of its y."

STOPPED: Final = (
    "The pass could not go on with its x in place of its y: layers behind it are missing."
)


def record_of(model: nn.Module, measured: Measured, title: str, *, drawn: bool) -> Record:
    """Judge one call.

    Parameters
    ----------
    model
        The model.
    measured
        The call and its measurements.
    title
        What the report calls the layer.
    drawn
        Whether the input is noise: then running statistics are not compared with it.
    """
    fit = measured.fit
    findings = tuple(findings_of(model, measured, drawn=drawn))
    wrong = bool(WRONG & {f.code for f in findings})
    not_judged = "" if wrong or fit.right else fit.why
    return Record(
        target=title,
        kind=fit.kind,
        mode=fit.mode,
        through=_through(fit),
        coefficients=fit.coefficients,
        residual=fit.residual,
        sound=None if not_judged else not wrong,
        not_judged=not_judged,
        findings=findings,
        errors=Errors(),
        law=_law(fit),
        notes=tuple(_notes(measured)),
        parts=fit.parts,
    )


def record_of_raised(call: LayerCall, error: Exception, title: str, *, goes_on: bool) -> Record:
    """Return the record of a layer whose call raised.

    Parameters
    ----------
    call
        The call.
    error
        What it raised.
    title
        What the report calls the layer.
    goes_on
        Whether the pass came to its end with x in place of y.
    """
    shape, mode = tuple(call.x.shape), "training" if call.training else "evaluation"
    failed = FailedCall("forward", place_of(error, HERE), mode, {"x": shape}, in_model=True)
    usual = usual_reading(call.layer, shape)
    n = 0 if usual is None else usual.geometry.n
    refused = call.training and isinstance(
        error, ValueError
    )  # as PyTorch's layers refuse few values
    few = few_values(call, n) if refused else ()
    return Record(
        title,
        call.layer.kind,
        findings=(fault(SubjectError.raised(title, error, failed)), *few),
        audited=False,
        notes=(WENT_ON if goes_on else STOPPED,),
    )


def _law(fit: CallFit) -> str:
    law = "constant statistics" if fit.mode == "frozen" else str(fit.variance_rule or "")
    return f"{law}, then {fit.activation}" if fit.activation else law


def _through(fit: CallFit) -> Path:
    """Name the paths in dx; a path too small to be measured counts as right."""
    if fit.right:
        return "none" if fit.mode == "frozen" else "both"
    shares = (fit.coefficients.mean, fit.coefficients.variance)
    if fit.right is None or any(share is None for share in shares):
        return "unexplained"
    near = [[abs((share or 0.0) - v) < COEFFICIENT_LIMIT for v in (0.0, 1.0)] for share in shares]
    if not all(any(ends) for ends in near) or fit.coefficients.direct is None:
        return "unexplained"
    if abs(fit.coefficients.direct - 1) > COEFFICIENT_LIMIT:
        return "unexplained"
    names: dict[tuple[bool, bool], Path] = {
        (True, True): "both",
        (True, False): "mean",
        (False, True): "variance",
        (False, False): "none",
    }
    return names[near[0][1], near[1][1]]


def _notes(measured: Measured) -> Iterator[str]:
    call, fit = measured.call, measured.fit
    if call.layer.sign == "values":
        yield "No name tells that it normalizes: its output does."
    if fit.note:
        yield fit.note
    if measured.uncompared:
        yield f"The gradient of {' and '.join(measured.uncompared)} was not compared."
    if fit.mode == "frozen" and not call.training and not trainable(call.layer):
        yield "It is frozen: in evaluation mode, with no parameter that trains."
    if measured.idle == FLAT:
        yield "Judged in a second call, with gamma 1 where it is 0, beta 0 and a random gradient."
    elif not measured.idle and call.shared and call.dy is not None:
        yield (
            "x also gets gradient by another route than y (another output, kept statistics or a "
            "hook): judged in a second call with the gradient of y alone."
        )
    elif measured.idle:
        yield f"Judged in a second call, with a random gradient: in the model, {measured.idle}."
