"""The findings of one call of a layer, from its measurements and its place in the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from backnorm.audit.findings import finding
from backnorm.audit.thresholds import FEW_VALUES, GAP_LIMIT, GAP_NOISE, SMALL_VARIANCE_SHARE
from backnorm.host.names import role_of
from backnorm.torch.model.fit import FLAT
from backnorm.torch.model.state import tensors_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import nn

    from backnorm.audit.record import Finding
    from backnorm.torch.model.calls import Layer, LayerCall
    from backnorm.torch.model.fit import CallFit

__all__ = ["Measured", "findings_of", "running_changed", "trainable"]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A call and its measurements.

    Attributes
    ----------
    call
        The call, as the model made it.
    judged
        The call whose gradient was judged: the same, or its repetition with a random dy.
    fit
        The measurements of the judged call.
    idle
        Why the call itself could not be judged, where it was repeated; else empty.
    updates
        How many times the running statistics were updated for this x.
    freed
        Whether a gradient arrives once the parameters that are 0 are not.
    """

    call: LayerCall
    judged: LayerCall
    fit: CallFit
    idle: str = ""
    updates: int = 0
    freed: bool = False


def findings_of(model: nn.Module, measured: Measured, *, drawn: bool) -> Iterator[Finding]:
    """Yield the findings of one call.

    Parameters
    ----------
    model
        The model.
    measured
        The call and its measurements.
    drawn
        Whether the input is noise: then running statistics are not compared with it.
    """
    call, fit = measured.call, measured.fit
    yield from _of_gradient(measured)
    if call.layer.module is not call.layer.inner:
        return
    yield from _of_zeros(measured)
    if model.training and any(p.requires_grad for p in model.parameters()):
        yield from _of_mode(call, fit)
    yield from _of_statistics(call, fit)
    yield from _of_running(model, measured, drawn=drawn)


def _of_gradient(measured: Measured) -> Iterator[Finding]:
    call, judged, fit = measured.call, measured.judged, measured.fit
    unrecorded = not call.recorded and trainable(call.layer) and call.training
    if unrecorded or (judged.dy is not None and judged.dy.any() and judged.dx is None):
        yield finding("M05", "called under no_grad" if unrecorded else "no gradient at its input")
    elif fit.right is False:
        shares = fit.coefficients
        known = (("direct", shares.direct), ("mean", shares.mean), ("variance", shares.variance))
        words = [f"{n} {v:.4f}" for n, v in known if v is not None]
        left = "not finite" if fit.residual is None else f"residual {fit.residual:.1e}"
        yield finding("M04", ", ".join([*words, left]))


def _of_zeros(measured: Measured) -> Iterator[Finding]:
    """Yield what keeps gradients from passing the layer."""
    call, layer = measured.call, measured.call.layer
    gamma = layer.parameters.get("gamma")
    if measured.idle == FLAT:
        if gamma is not None and not _before(call, gamma).any():
            if gamma.requires_grad:
                yield finding("Z01", f"gamma is 0 in all {gamma.numel()} positions")
            else:
                yield finding("M09", "gamma is 0 and does not train")
        else:
            yield finding("M09", "its output is the same for every input")
    elif call.dy is not None and not call.dy.any():
        if measured.freed:
            yield finding("Z02", "the gradient that arrives is 0")
        else:
            yield finding("M09", "the gradient that arrives is 0 everywhere")


def _before(call: LayerCall, tensor: torch.Tensor) -> torch.Tensor:
    """Return the value that a tensor of the layer had before the call."""
    pairs = zip(tensors_of(call.layer.inner), call.before, strict=True)
    return next(value for own, value in pairs if own is tensor)


def trainable(layer: Layer) -> bool:
    """Whether gamma or beta trains."""
    return any(parameter.requires_grad for parameter in layer.parameters.values())


def _of_mode(call: LayerCall, fit: CallFit) -> Iterator[Finding]:
    layer = call.layer
    if fit.mode == "frozen" and not call.training and trainable(layer):
        yield finding("M01", "evaluation mode, with parameters that train")
    if layer.kind != "batch" or fit.mode != "batch":
        return
    if layer.parameters and not trainable(layer):
        yield finding("M02", "statistics of the batch, with no parameter that trains")
    if not _running(call, call.before):
        yield finding("M03", "no running statistics")
    elif call.after and not running_changed(call):
        yield finding("M03", "running statistics that did not change in this pass")


def _of_statistics(call: LayerCall, fit: CallFit) -> Iterator[Finding]:
    uses_batch = fit.mode == "batch" or call.y is None
    if uses_batch and fit.n <= FEW_VALUES:
        yield finding("M06", f"{fit.n} values per channel, x of shape {tuple(call.x.shape)}")
    eps = getattr(call.layer.inner, "eps", None)
    if fit.mode == "batch" and isinstance(eps, float) and fit.n > FEW_VALUES:
        share = float(np.mean(fit.var < eps))
        if share > SMALL_VARIANCE_SHARE:
            measured = f"{share:.0%} of the variances below {eps:g}, the smallest"
            yield finding("M07", f"{measured} {np.nanmin(fit.var):.1e}")


def _running(call: LayerCall, values: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the running statistics among the values of the layer's tensors."""
    names = {id(buffer): name for name, buffer in call.layer.inner.named_buffers()}
    pairs = zip(tensors_of(call.layer.inner), values, strict=False)
    roles = {role_of(names[id(t)]): value for t, value in pairs if id(t) in names}
    return {role: roles[role] for role in ("running_mean", "running_var") if role in roles}


def running_changed(call: LayerCall) -> bool:
    """Whether a call changed the running statistics of its layer."""
    before, after = _running(call, call.before), _running(call, call.after)
    return any(not torch.equal(before[role], value) for role, value in after.items())


def _of_running(model: nn.Module, measured: Measured, *, drawn: bool) -> Iterator[Finding]:
    """Yield what is wrong with the values of the running statistics, or with their updates."""
    call, fit = measured.call, measured.fit
    running = _running(call, call.before)
    if measured.updates > 1:
        yield finding("S03", "once in the forward pass, once as the backward pass ran it again")
    if bad := [words for role, value in running.items() if (words := _bad(role, value))]:
        yield finding("M10", ", ".join(bad))
        return
    if call.training and not model.training and running and fit.mode != "frozen":
        yield finding(
            "M12", f"training mode, statistics of the batch, x of shape {(*call.x.shape,)}"
        )
    if call.layer.kind != "batch" or len(running) < 2:  # noqa: PLR2004
        return
    mean, var = (value.double().cpu().numpy() for value in running.values())
    untouched = not mean.any() and (var == 1).all()
    gap = "" if drawn else _gap(call, fit, mean.reshape(-1, 1), var.reshape(-1, 1))
    if untouched and fit.mode == "frozen" and not call.training and (gap or not model.training):
        yield finding("M11", gap or "means of 0 and variances of 1 in all channels")
    elif gap and not untouched:
        yield finding("M08", gap)


def _bad(role: str, value: torch.Tensor) -> str:
    """Say how many running statistics cannot be right; empty if all may be."""
    lost = int((~torch.isfinite(value)).sum())
    negative = int((value < 0).sum()) if role == "running_var" else 0
    counts = ((lost, "not finite"), (negative, "negative"))
    return ", ".join(f"{n} of {value.numel()} {role} {what}" for n, what in counts if n)


def _gap(call: LayerCall, fit: CallFit, mean: np.ndarray, var: np.ndarray) -> str:
    """Say how far the running statistics are from the batch's; empty if near."""
    if fit.n <= FEW_VALUES or mean.shape != fit.mean.shape or not np.isfinite(fit.var).all():
        return ""
    eps = float(getattr(call.layer.inner, "eps", 0.0))
    mean_gap = np.abs(fit.mean - mean) / np.sqrt(var + eps)
    std_gap = np.abs(np.log((fit.var + eps) / (var + eps))) / 2
    # Statistics of few samples scatter, so a small batch is allowed a larger gap.
    allowed = GAP_LIMIT + GAP_NOISE / np.sqrt(len(call.x))
    if max(mean_gap.max(), std_gap.max()) <= allowed:
        return ""
    means = f"means up to {mean_gap.max():.1f} standard deviations off"
    return f"{means}, standard deviations up to a factor of {np.exp(std_gap.max()):.1f}"
