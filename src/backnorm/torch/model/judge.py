"""The findings of one call of a layer, from its measurements and its place in the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from backnorm.audit.findings import finding
from backnorm.audit.thresholds import FEW_VALUES, GAP_LIMIT, GAP_NOISE, SMALL_VARIANCE_SHARE
from backnorm.host.names import role_of
from backnorm.torch.model.fit import FLAT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import nn

    from backnorm.audit.record import Finding
    from backnorm.torch.model.calls import LayerCall
    from backnorm.torch.model.fit import CallFit
    from backnorm.torch.model.layers import Layer
    from backnorm.torch.model.state import Snapshot

__all__ = ["Measured", "few_values", "findings_of", "running_changed", "trainable"]

OF_ROLE: Final = {"gamma": "G13", "beta": "G14"}
"""Findings about the gradients of parameters by their roles; that of any other is G19."""


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
    uncompared
        Names of the parameters whose gradient was not compared, and why.
    shares
        What share of its derivative each of gamma, beta and other parameters gets, in words,
        where it is not 1.
    """

    call: LayerCall
    judged: LayerCall
    fit: CallFit
    idle: str = ""
    updates: int = 0
    freed: bool = False
    uncompared: tuple[str, ...] = ()
    shares: Mapping[str, str] = field(default_factory=dict)


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
    for role, share in measured.shares.items():
        code = OF_ROLE.get(role, "G19")
        yield finding(code, f"{role}: {share}" if code == "G19" else share)
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
        if gamma is not None and not call.before.value_of(gamma).any():
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


def trainable(layer: Layer) -> bool:
    """Whether gamma or beta trains."""
    return any(parameter.requires_grad for parameter in layer.parameters.values())


def _of_mode(call: LayerCall, fit: CallFit) -> Iterator[Finding]:
    layer = call.layer
    if fit.mode == "frozen" and not call.training and trainable(layer):
        yield finding("M01", "evaluation mode, with parameters that train")
    if fit.kind != "batch" or fit.mode != "batch":
        return
    if layer.parameters and not trainable(layer):
        yield finding("M02", "statistics of the batch, with no parameter that trains")
    if not _running(call.before):
        yield finding("M03", "no running statistics")
    elif call.after is not None and not running_changed(call):
        yield finding("M03", "running statistics that did not change in this pass")


def _of_statistics(call: LayerCall, fit: CallFit) -> Iterator[Finding]:
    if fit.mode == "batch":
        yield from few_values(call, fit.n)
    eps = getattr(call.layer.inner, "eps", None)
    if fit.mode == "batch" and isinstance(eps, float) and fit.n > FEW_VALUES:
        share = float(np.mean(fit.var < eps))
        if share > SMALL_VARIANCE_SHARE:
            measured = f"{share:.0%} of the variances below {eps:g}, the smallest"
            yield finding("M07", f"{measured} {np.nanmin(fit.var):.1e}")


def few_values(call: LayerCall, n: int) -> Iterator[Finding]:
    """Yield a finding where each statistic of a batch has one or two values."""
    if 0 < n <= FEW_VALUES:
        yield finding("M06", f"{n} values per channel, x of shape {tuple(call.x.shape)}")


def _running(snapshot: Snapshot) -> dict[str, torch.Tensor]:
    """Return the running statistics among the tensors of a layer."""
    roles = {role_of(name): value for name, value in snapshot.buffers().items()}
    return {role: roles[role] for role in ("running_mean", "running_var") if role in roles}


def running_changed(call: LayerCall) -> bool:
    """Whether a call changed the running statistics of its layer."""
    if call.after is None:
        return False
    before, after = _running(call.before), _running(call.after)
    return any(not torch.equal(before[role], value) for role, value in after.items())


def _of_running(model: nn.Module, measured: Measured, *, drawn: bool) -> Iterator[Finding]:
    """Yield what is wrong with the values of the running statistics, or with their updates."""
    call, fit = measured.call, measured.fit
    running = _running(call.before)
    if measured.updates > 1:
        yield finding("S03", "once in the forward pass, once as the backward pass ran it again")
    if bad := [words for role, value in running.items() if (words := _bad(role, value))]:
        yield finding("M10", ", ".join(bad))
        return
    if call.training and not model.training and running and fit.mode != "frozen":
        yield finding(
            "M12", f"training mode, statistics of the batch, x of shape {(*call.x.shape,)}"
        )
    if fit.kind != "batch" or len(running) < 2:  # noqa: PLR2004
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
