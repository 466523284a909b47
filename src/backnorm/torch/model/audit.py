"""The audit of a whole model: each normalization layer in its place, on what it really receives."""

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
from backnorm.torch.model.calls import Call, Layer, find_layers, listen
from backnorm.torch.model.fit import Fit, fit_call
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
        The model, as it is set; it is left as it was.
    inputs
        What to call it with: a tensor, or a tuple of arguments.
    name
        What the report calls it.
    drawn
        Whether the input is noise: then running statistics are not compared with it.
    at_work
        Called with the name of each layer before it is measured.

    Returns
    -------
    tuple of Record
        One for each layer that was called, and for each module around one that spoils its gradient.

    Raises
    ------
    SubjectError
        If the model raises, or none of its normalization layers is called.

    Notes
    -----
    The loss is the sum of the outputs, each weighted by a random number, unless the output is one
    number.
    """
    calls: list[Call] = []
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
    """One forward and one backward pass."""
    generator = torch.Generator().manual_seed(0)
    outputs = [one for one in _tensors(model(*inputs)) if one.requires_grad]
    weights = [
        torch.randn(one.shape, generator=generator).to(one) if one.dim() else torch.ones_like(one)
        for one in outputs
    ]
    if outputs:
        torch.autograd.backward(outputs, weights)


def _tensors(output: Any) -> Iterator[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, dict):
        for one in output.values():
            yield from _tensors(one)
    elif isinstance(output, tuple | list):
        for one in output:
            yield from _tensors(one)


def _records(
    model: nn.Module,
    layers: Sequence[Layer],
    measured: Sequence[tuple[Call, Fit]],
    name: str,
    *,
    drawn: bool,
) -> Iterator[Record]:
    """Yield a record for each layer; modules around one are told only if they spoil it."""
    spoilt: set[int] = set()
    for layer in layers:
        own = [(call, fit) for call, fit in measured if call.layer is layer]
        around = layer.module is not layer.inner
        if not own:
            continue
        made = [_record(model, call, fit, name, drawn=drawn) for call, fit in own]
        shown = next((one for one in made if not one.clean), made[0])
        gradient = {"M04", "M05"} & {one.code for one in shown.findings}
        if around and (not gradient or id(layer.inner) in spoilt):
            continue
        spoilt |= {id(layer.inner)} if gradient else set()
        times = (f"Called {len(made)} times in one pass.",) if len(made) > 1 else ()
        yield _with_notes(shown, times)


def _title(name: str, layer: Layer) -> str:
    return f"{name} {layer.name or type(layer.module).__name__}"


def _with_notes(record: Record, notes: tuple[str, ...]) -> Record:
    return Record.from_dict({**record.to_dict(), "notes": [*record.notes, *notes]})


def _record(model: nn.Module, call: Call, fit: Fit, name: str, *, drawn: bool) -> Record:
    findings = tuple(_findings(model, call, fit, drawn=drawn))
    sound = not {"M04", "M05"} & {one.code for one in findings}
    return Record(
        target=_title(name, call.layer),
        kind=call.layer.kind,
        mode=fit.mode,
        through=_through(call, fit),
        coefficients=fit.coefficients,
        unexplained=fit.rest,
        sound=sound,
        findings=findings,
        errors=Errors(),
        law="constant statistics" if fit.mode == "frozen" else str(fit.root or ""),
        notes=tuple(_notes(call, fit)),
        parts=fit.parts,
    )


def _through(call: Call, fit: Fit) -> Path:
    """Name the paths; one too small to be seen goes along with what is right."""
    if fit.right:
        return "none" if fit.mode == "frozen" else "both"
    shares = (fit.coefficients.mean, fit.coefficients.variance)
    if call.dy is None or any(share is None for share in shares):
        return "unexplained"
    near = [[abs((share or 0.0) - v) < COEFFICIENT_LIMIT for v in (0.0, 1.0)] for share in shares]
    if not all(any(one) for one in near) or fit.coefficients.direct is None:
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


def _notes(call: Call, fit: Fit) -> Iterator[str]:
    if call.dy is None and call.y is not None and call.recorded:
        yield "No gradient arrived at its output: the loss does not depend on it."
    elif not fit.straight and fit.n > FEW_VALUES:
        yield "y is no straight line in x, so that its gradient was not judged in place."
    if fit.mode == "frozen" and not call.training and not _trainable(call.layer):
        yield "It is frozen altogether: evaluation, and no parameter that trains."


def _findings(model: nn.Module, call: Call, fit: Fit, *, drawn: bool) -> Iterator[Finding]:
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
            got = f"{share:.0%} of the variances below {eps:g}, the smallest {fit.var.min():.1e}"
            yield finding("M07", got)
    if not drawn:
        yield from _of_gap(call, fit)


def _of_gradient(call: Call, fit: Fit) -> Iterator[Finding]:
    unrecorded = not call.recorded and _trainable(call.layer) and call.training
    if unrecorded or (call.dy is not None and call.dy.any() and call.dx is None):
        yield finding("M05", "called under no_grad" if unrecorded else "no gradient at its input")
    elif fit.right is False:
        shares = fit.coefficients
        known = (("direct", shares.direct), ("mean", shares.mean), ("variance", shares.variance))
        words = ", ".join(f"{n} {v:.4f}" for n, v in known if v is not None)
        yield finding("M04", f"{words}, rest {fit.rest:.1e}")


def _trainable(layer: Layer) -> bool:
    return any(parameter.requires_grad for parameter in layer.parameters.values())


def _of_mode(call: Call, fit: Fit) -> Iterator[Finding]:
    layer = call.layer
    if fit.mode == "frozen" and not call.training and _trainable(layer):
        yield finding("M01", "eval mode, and parameters that train")
    if layer.kind != "batch" or fit.mode != "batch":
        return
    if layer.parameters and not _trainable(layer):
        yield finding("M02", "no parameter that trains, and statistics of the batch")
    running = _running(call, call.before)
    moved = _running(call, call.after)
    if not running:
        yield finding("M03", "no running statistics")
    elif call.after and all(torch.equal(running[role], moved[role]) for role in running):
        yield finding("M03", "running statistics that did not move in this pass")


def _running(call: Call, values: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the running statistics among the layer's tensors as they were then."""
    names = {id(buffer): name for name, buffer in call.layer.inner.named_buffers()}
    pairs = zip(tensors_of(call.layer.inner), values, strict=False)
    roles = {role_of(names[id(t)]): value for t, value in pairs if id(t) in names}
    return {role: roles[role] for role in ("running_mean", "running_var") if role in roles}


def _of_gap(call: Call, fit: Fit) -> Iterator[Finding]:
    running = _running(call, call.before)
    if len(running) < 2 or call.layer.kind != "batch" or fit.n <= FEW_VALUES:  # noqa: PLR2004
        return
    mean, var = (
        running[r].double().numpy().reshape(-1, 1) for r in ("running_mean", "running_var")
    )
    if mean.shape != fit.mean.shape or (not mean.any() and (var == 1).all()):
        return  # no batch has been seen
    eps = float(getattr(call.layer.inner, "eps", 0.0))
    off = np.abs(fit.mean - mean) / np.sqrt(var + eps)
    ratio = np.abs(np.log((fit.var + eps) / (var + eps))) / 2
    allowed = GAP_LIMIT + GAP_NOISE / np.sqrt(len(call.x))
    if max(off.max(), ratio.max()) > allowed:
        got = f"means up to {off.max():.1f} standard deviations off"
        yield finding(
            "M08", f"{got}, standard deviations up to a factor of {np.exp(ratio.max()):.1f}"
        )
