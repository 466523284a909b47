"""The audit of a whole model: from one forward and backward pass to a record of each layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from backnorm.audit.record import Errors, Record
from backnorm.audit.thresholds import COEFFICIENT_LIMIT
from backnorm.errors import SubjectError
from backnorm.torch.model.again import measure_call, with_zeros_replaced
from backnorm.torch.model.calls import Recorder, find_layers
from backnorm.torch.model.fit import FLAT
from backnorm.torch.model.inputs import described
from backnorm.torch.model.judge import findings_of, running_changed, trainable
from backnorm.torch.model.noise import random_gradient
from backnorm.torch.model.state import kept

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from backnorm.audit.record import Path
    from backnorm.torch.model.calls import Layer, LayerCall
    from backnorm.torch.model.fit import CallFit
    from backnorm.torch.model.judge import Measured

__all__ = ["audit_model"]


def audit_model(
    model: nn.Module,
    inputs: Any,
    *,
    name: str = "model",
    drawn: bool = False,
    at_work: Callable[[str], object] = lambda _: None,
) -> tuple[Record, ...]:
    """Audit every normalization layer of a model in its place.

    Parameters
    ----------
    model
        The model, in the mode to audit; afterwards it is as before.
    inputs
        The arguments of the model: a tensor, or a tuple of arguments.
    name
        Name of the model in the report.
    drawn
        Whether the input is noise: then running statistics are not compared with it.
    at_work
        Called with the name of each layer before it is measured.

    Returns
    -------
    tuple of Record
        One for each layer that was called, and one for each module around a layer that makes its
        gradient wrong.

    Raises
    ------
    SubjectError
        If the model raises, or none of its normalization layers is called.

    Notes
    -----
    The loss is the sum of the outputs, each weighted by a random number, unless the output is one
    number.
    """
    recorder, layers = Recorder(), find_layers(model)
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    with kept(model), torch.enable_grad():
        recorder.listen(layers)
        try:
            failure = _pass(model, arguments, recorder)
        except Exception as error:
            raise SubjectError.model_raised(name, described(inputs), error) from error
        calls = _paired(recorder.calls)
        if failure is not None:
            _forget_unfinished(calls)
        freed = _freed(model, arguments, recorder, calls)
        recorder.on = False
        results = []
        for call, updates in calls:
            title = _title(name, call.layer)
            at_work(title)
            results.append((call.layer, _result(model, call, updates, freed, title, drawn=drawn)))
        if failure is not None and not any(result.failed for _, result in results):
            raise SubjectError.model_raised(name, described(inputs), failure) from failure
        records = [*_records(layers, results)]
    if not records:
        raise SubjectError.no_layers(name, f"none of its {sum(1 for _ in model.modules())} modules")
    return tuple(records)


def _pass(model: nn.Module, inputs: tuple[Any, ...], recorder: Recorder) -> Exception | None:
    """Run one forward and one backward pass; return what the backward pass raised."""
    recorder.in_backward = False
    outputs = [y for y in _tensors(model(*inputs)) if y.requires_grad]
    weights = [random_gradient(y) if y.dim() else torch.ones_like(y) for y in outputs]
    recorder.in_backward = True
    try:
        if outputs:
            torch.autograd.backward(outputs, weights)
    except Exception as error:  # noqa: BLE001 - foreign code; a layer may be the cause
        return error
    return None


def _tensors(output: Any) -> Iterator[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, dict | tuple | list):
        for part in output.values() if isinstance(output, dict) else output:
            yield from _tensors(part)


def _paired(calls: Sequence[LayerCall]) -> list[tuple[LayerCall, int]]:
    """Merge the calls that the backward pass made again with the first calls on the same x.

    Activation checkpointing runs a part of the forward pass again: then one of the two calls, which
    one depends on the implementation, has the gradients.

    Returns
    -------
    list of tuple of LayerCall and int
        Each call, and how many times the running statistics were updated for its x.
    """
    pairs: list[tuple[LayerCall, int]] = []
    for call in calls:
        same = (i for i, (first, _) in enumerate(pairs) if call.in_backward and _again(first, call))
        at = next(same, None)
        if at is None:
            pairs.append((call, int(running_changed(call))))
            continue
        first, updates = pairs[at]
        whole = first if call.dy is None else replace(call, before=first.before, in_backward=False)
        pairs[at] = (whole, updates + running_changed(call))
    return pairs


def _forget_unfinished(calls: Sequence[tuple[LayerCall, int]]) -> None:
    """Take away the dy of calls that the backward pass did not finish: they are made again."""
    for call, _ in calls:
        if call.dx is None:
            call.dy = None


def _again(first: LayerCall, call: LayerCall) -> bool:
    """Whether a call in the backward pass repeats a call of the forward pass."""
    return call.layer is first.layer and not first.in_backward and torch.equal(call.x, first.x)


def _freed(
    model: nn.Module,
    inputs: tuple[Any, ...],
    recorder: Recorder,
    calls: Sequence[tuple[LayerCall, int]],
) -> set[Layer]:
    """Return the layers that a gradient reaches once the parameters that are 0 are not."""
    if all(call.dy is None or call.dy.any() for call, _ in calls):
        return set()
    recorder.calls = []
    with with_zeros_replaced(model) as replaced:
        try:
            if replaced:
                _pass(model, inputs, recorder)
        except Exception:  # noqa: BLE001 - foreign code, with parameters that it did not expect
            return set()
    return {call.layer for call in recorder.calls if call.dy is not None and call.dy.any()}


@dataclass(frozen=True, slots=True)
class _Result:
    """The record of one call, and whether its layer raised."""

    record: Record
    failed: bool = False


def _result(
    model: nn.Module,
    call: LayerCall,
    updates: int,
    freed: Container[Layer],
    title: str,
    *,
    drawn: bool,
) -> _Result:
    """Measure and judge one call; whatever that raises costs this record only."""
    try:
        measured = replace(measure_call(call), updates=updates, freed=call.layer in freed)
        return _Result(_record(model, measured, title, drawn=drawn))
    except Exception as error:  # noqa: BLE001 - foreign code ran
        why = f"measuring it raised {type(error).__name__}: {error}"
        return _Result(Record(title, call.layer.kind, not_judged=why), failed=True)


def _records(layers: Sequence[Layer], results: Sequence[tuple[Layer, _Result]]) -> Iterator[Record]:
    """Yield a record for each layer, and for a module around it if only that makes dx wrong."""
    wrong: set[int] = set()
    for layer in layers:
        records = [result.record for owner, result in results if owner is layer]
        if not records:
            continue
        # A layer that is called several times has one record: that of the first call with findings.
        shown = next((record for record in records if not record.clean), records[0])
        gradient = {"M04", "M05"} & {f.code for f in shown.findings}
        # What is around a layer comes after it. If the layer's own dx is wrong, that of the module
        # around it is wrong as well, and says nothing new.
        around = layer.module is not layer.inner
        if around and (not gradient or id(layer.inner) in wrong):
            continue
        wrong |= {id(layer.inner)} if gradient else set()
        times = (f"Called {len(records)} times in one pass.",) if len(records) > 1 else ()
        yield replace(shown, notes=(*shown.notes, *times))


def _title(name: str, layer: Layer) -> str:
    return f"{name} {layer.name or type(layer.module).__name__}"


def _record(model: nn.Module, measured: Measured, title: str, *, drawn: bool) -> Record:
    fit, call = measured.fit, measured.call
    findings = tuple(findings_of(model, measured, drawn=drawn))
    wrong = bool({"M04", "M05"} & {f.code for f in findings})
    not_judged = "" if wrong or fit.right else fit.why
    return Record(
        target=title,
        kind=call.layer.kind,
        mode=fit.mode,
        through=_through(fit),
        coefficients=fit.coefficients,
        unexplained=fit.residual,
        sound=None if not_judged else not wrong,
        not_judged=not_judged,
        findings=findings,
        errors=Errors(),
        law=_law(fit),
        notes=tuple(_notes(measured)),
        parts=fit.parts,
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
    if fit.mode == "frozen" and not call.training and not trainable(call.layer):
        yield "It is frozen: in evaluation mode, with no parameter that trains."
    if measured.idle == FLAT:
        yield "Judged in a second call, with gamma 1 where it is 0, beta 0 and a random gradient."
    elif measured.idle:
        yield f"Judged in a second call, with a random gradient: in the model, {measured.idle}."
