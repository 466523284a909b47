"""The audit of a whole model: from one forward and backward pass to a record of each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from backnorm.audit.findings import finding
from backnorm.audit.record import Errors, Record
from backnorm.audit.thresholds import (
    COEFFICIENT_LIMIT,
    FEW_VALUES,
    GAP_LIMIT,
    GAP_NOISE,
    SMALL_VARIANCE_SHARE,
)
from backnorm.errors import SubjectError
from backnorm.host.names import role_of
from backnorm.torch.model.calls import Layer, LayerCall, find_layers, listen
from backnorm.torch.model.fit import CallFit, fit_call
from backnorm.torch.model.inputs import described
from backnorm.torch.model.state import kept, tensors_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from backnorm.audit.record import Finding, Path

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
    calls: list[LayerCall] = []
    layers = find_layers(model)
    with kept(model), torch.enable_grad():
        listen(layers, calls)
        try:
            _pass(model, inputs if isinstance(inputs, tuple) else (inputs,))
        except Exception as error:
            raise SubjectError.model_raised(name, described(inputs), error) from error
        measured = []
        for call in tuple(calls):  # a copy: replays are heard too
            at_work(_title(name, call.layer))
            measured.append((call, fit_call(call)))
        records = [*_records(model, layers, measured, name, drawn=drawn)]
    if not records:
        raise SubjectError.no_layers(name, f"none of its {sum(1 for _ in model.modules())} modules")
    return tuple(records)


def _pass(model: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Run one forward and one backward pass."""
    generator = torch.Generator().manual_seed(0)
    outputs = [y for y in _tensors(model(*inputs)) if y.requires_grad]
    weights = [
        torch.randn(y.shape, generator=generator).to(y) if y.dim() else torch.ones_like(y)
        for y in outputs
    ]
    if outputs:
        torch.autograd.backward(outputs, weights)


def _tensors(output: Any) -> Iterator[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, dict | tuple | list):
        for part in output.values() if isinstance(output, dict) else output:
            yield from _tensors(part)


def _records(
    model: nn.Module,
    layers: Sequence[Layer],
    measured: Sequence[tuple[LayerCall, CallFit]],
    name: str,
    *,
    drawn: bool,
) -> Iterator[Record]:
    """Yield a record for each layer, and for a module around it if only that makes dx wrong."""
    wrong: set[int] = set()
    for layer in layers:
        records = [
            _record(model, call, fit, name, drawn=drawn)
            for call, fit in measured
            if call.layer is layer
        ]
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
        yield _with_notes(shown, times)


def _title(name: str, layer: Layer) -> str:
    return f"{name} {layer.name or type(layer.module).__name__}"


def _with_notes(record: Record, notes: tuple[str, ...]) -> Record:
    return Record.from_dict({**record.to_dict(), "notes": [*record.notes, *notes]})


def _record(model: nn.Module, call: LayerCall, fit: CallFit, name: str, *, drawn: bool) -> Record:
    findings = tuple(_findings(model, call, fit, drawn=drawn))
    wrong = bool({"M04", "M05"} & {f.code for f in findings})
    not_judged = "" if wrong else _not_judged(call, fit)
    return Record(
        target=_title(name, call.layer),
        kind=call.layer.kind,
        mode=fit.mode,
        through=_through(call, fit),
        coefficients=fit.coefficients,
        unexplained=fit.residual,
        sound=None if not_judged else not wrong,
        not_judged=not_judged,
        findings=findings,
        errors=Errors(),
        law="constant statistics" if fit.mode == "frozen" else str(fit.variance_rule or ""),
        notes=tuple(_notes(call, fit)),
        parts=fit.parts,
    )


def _through(call: LayerCall, fit: CallFit) -> Path:
    """Name the paths in dx; a path too small to be measured counts as right."""
    if fit.right:
        return "none" if fit.mode == "frozen" else "both"
    shares = (fit.coefficients.mean, fit.coefficients.variance)
    if call.dy is None or any(share is None for share in shares):
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


def _not_judged(call: LayerCall, fit: CallFit) -> str:
    """Say why a gradient without a finding was not judged; empty where it was."""
    if fit.right:
        return ""
    if call.dy is None:
        return "no gradient arrived at its output: the loss does not depend on it"
    if fit.n <= FEW_VALUES:
        return f"each statistic has {fit.n} values, which are too few"
    if not fit.straight:
        return "y is not a linear function of x in each row"
    return "its statistics are neither those of the batch nor constants"


def _notes(call: LayerCall, fit: CallFit) -> Iterator[str]:
    if fit.mode == "frozen" and not call.training and not _trainable(call.layer):
        yield "It is frozen: in evaluation mode, with no parameter that trains."


def _findings(model: nn.Module, call: LayerCall, fit: CallFit, *, drawn: bool) -> Iterator[Finding]:
    around = call.layer.module is not call.layer.inner
    yield from _of_gradient(call, fit)
    if around:
        return
    trains = model.training and any(p.requires_grad for p in model.parameters())
    if trains:
        yield from _of_mode(call, fit)
    uses_batch = fit.mode == "batch" or call.y is None
    if uses_batch and fit.n <= FEW_VALUES:
        yield finding("M06", f"{fit.n} values per channel, x of shape {tuple(call.x.shape)}")
    eps = getattr(call.layer.inner, "eps", None)
    if fit.mode == "batch" and isinstance(eps, float) and fit.n > FEW_VALUES:
        share = float(np.mean(fit.var < eps))
        if share > SMALL_VARIANCE_SHARE:
            measured = f"{share:.0%} of the variances below {eps:g}, the smallest"
            yield finding("M07", f"{measured} {fit.var.min():.1e}")
    if not drawn:
        yield from _of_gap(call, fit)


def _of_gradient(call: LayerCall, fit: CallFit) -> Iterator[Finding]:
    unrecorded = not call.recorded and _trainable(call.layer) and call.training
    if unrecorded or (call.dy is not None and call.dy.any() and call.dx is None):
        yield finding("M05", "called under no_grad" if unrecorded else "no gradient at its input")
    elif fit.right is False:
        shares = fit.coefficients
        known = (("direct", shares.direct), ("mean", shares.mean), ("variance", shares.variance))
        words = ", ".join(f"{n} {v:.4f}" for n, v in known if v is not None)
        yield finding("M04", f"{words}, residual {fit.residual:.1e}")


def _trainable(layer: Layer) -> bool:
    return any(parameter.requires_grad for parameter in layer.parameters.values())


def _of_mode(call: LayerCall, fit: CallFit) -> Iterator[Finding]:
    layer = call.layer
    if fit.mode == "frozen" and not call.training and _trainable(layer):
        yield finding("M01", "evaluation mode, with parameters that train")
    if layer.kind != "batch" or fit.mode != "batch":
        return
    if layer.parameters and not _trainable(layer):
        yield finding("M02", "statistics of the batch, with no parameter that trains")
    before, after = _running(call, call.before), _running(call, call.after)
    if not before:
        yield finding("M03", "no running statistics")
    elif call.after and all(torch.equal(before[role], after[role]) for role in before):
        yield finding("M03", "running statistics that did not change in this pass")


def _running(call: LayerCall, values: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the running statistics among the values of the layer's tensors."""
    names = {id(buffer): name for name, buffer in call.layer.inner.named_buffers()}
    pairs = zip(tensors_of(call.layer.inner), values, strict=False)
    roles = {role_of(names[id(t)]): value for t, value in pairs if id(t) in names}
    return {role: roles[role] for role in ("running_mean", "running_var") if role in roles}


def _of_gap(call: LayerCall, fit: CallFit) -> Iterator[Finding]:
    running = _running(call, call.before)
    if len(running) < 2 or call.layer.kind != "batch" or fit.n <= FEW_VALUES:  # noqa: PLR2004
        return
    mean, var = (
        running[r].double().numpy().reshape(-1, 1) for r in ("running_mean", "running_var")
    )
    if mean.shape != fit.mean.shape or (not mean.any() and (var == 1).all()):
        return  # initial values: the layer has never seen a batch
    eps = float(getattr(call.layer.inner, "eps", 0.0))
    mean_gap = np.abs(fit.mean - mean) / np.sqrt(var + eps)
    std_gap = np.abs(np.log((fit.var + eps) / (var + eps))) / 2
    # Statistics of few samples scatter, so a small batch is allowed a larger gap.
    allowed = GAP_LIMIT + GAP_NOISE / np.sqrt(len(call.x))
    if max(mean_gap.max(), std_gap.max()) > allowed:
        means = f"means up to {mean_gap.max():.1f} standard deviations off"
        factor = np.exp(std_gap.max())
        yield finding("M08", f"{means}, standard deviations up to a factor of {factor:.1f}")
