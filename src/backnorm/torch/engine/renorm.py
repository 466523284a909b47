"""Batch renormalization: training normalizes as evaluation does, within bounds."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import nn

from backnorm import _check
from backnorm.errors import RangeError
from backnorm.torch.engine import tools
from backnorm.torch.engine.functional import batch_norm
from backnorm.torch.engine.measured import (
    check_mask,
    move_running,
    normalize_measured,
    training_options,
)
from backnorm.torch.engine.modules import _Engine

__all__ = ["BatchRenorm1d", "BatchRenorm2d", "BatchRenorm3d"]


class _Bounds(NamedTuple):
    """What r and d of a step are clipped to; tensors without an axis."""

    r: torch.Tensor
    d: torch.Tensor


class _Renorm(_Engine):
    """It is no subclass of torch.nn.BatchNorm2d: tools that replace those would lose r and d."""

    def __init__(
        self,
        num_features: int,
        *arguments: Any,
        rmax: float = 3.0,
        dmax: float = 5.0,
        warmup_steps: int = 5_000,
        rmax_steps: int = 40_000,
        dmax_steps: int = 25_000,
        **others: Any,
    ) -> None:
        super().__init__(num_features, *arguments, **others)
        if not self.track_running_stats:
            raise RangeError.renorm_without_statistics()
        self.rmax = _bound("rmax", rmax, 1.0)
        self.dmax = _bound("dmax", dmax, 0.0)
        self.warmup_steps = _steps("warmup_steps", warmup_steps, 0)
        self.rmax_steps = _steps("rmax_steps", rmax_steps, self.warmup_steps)
        self.dmax_steps = _steps("dmax_steps", dmax_steps, self.warmup_steps)

    def forward(
        self,
        input: torch.Tensor,  # noqa: A002 - the name in torch.nn
        residual: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return y of what counts, with the residual added."""
        if not self.training or tools.is_traced(input) or input.numel() == 0:
            return self._normalize(input, residual=residual, mask=mask)
        self._check_input_dim(input)
        if mask is not None:
            check_mask(mask, input)
        with torch.no_grad():
            options = training_options(self.eps, self.through, self.sums)
            _, batch = normalize_measured(input.detach(), None, None, options, mask=mask)
            r, d = self._corrections(batch.mean, batch.var)
        weight, bias = self._corrected(r, d)
        y = batch_norm(
            input,
            None,
            None,
            weight,
            bias,
            training=True,
            eps=self.eps,
            through=self.through,
            sums=self.sums,
            residual=residual,
            mask=mask,
        )
        if self.track_running_stats:
            momentum = self._count(self.momentum)
            move_running(self, batch.mean, batch.unbiased_var, batch.n, momentum)
        return y

    def _corrections(
        self, mean: torch.Tensor, var: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return r and d: y of the bounds' inside is that of evaluation."""
        running_mean, running_var = self._running(mean.dtype)
        bounds = self._bounds(running_var)
        running_std = (running_var + self.eps).sqrt()
        r = (var + self.eps).sqrt() / running_std
        d = (mean - running_mean) / running_std
        return r.clamp(1 / bounds.r, bounds.r), d.clamp(-bounds.d, bounds.d)

    def _corrected(self, r: torch.Tensor, d: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight and bias for x_hat: weight*(r*x_hat + d) + bias."""
        weight: torch.Tensor | None = self.weight
        bias: torch.Tensor | None = self.bias
        if weight is None:
            kept: Any = self.running_var
            return r.to(kept.dtype), d.to(kept.dtype)
        shift = weight * d if bias is None else bias + weight * d
        return (weight * r).to(weight.dtype), shift.to(weight.dtype)

    def _running(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        mean: Any = self.running_mean
        var: Any = self.running_var
        return mean.to(dtype), var.to(dtype)

    def _bounds(self, like: torch.Tensor) -> _Bounds:
        """Return the bounds after as many batches as were counted; after the last step the same."""
        batches = self.num_batches_tracked
        steps = like.new_tensor(math.inf) if batches is None else batches.to(like)
        to_r = self._reached(steps, self.rmax_steps)
        to_d = self._reached(steps, self.dmax_steps)
        return _Bounds(1 + (self.rmax - 1) * to_r, self.dmax * to_d)

    def _reached(self, steps: torch.Tensor, end: int) -> torch.Tensor:
        """Return which share of the way from the warm-up to the end is done, 0 to 1."""
        length = end - self.warmup_steps
        if length == 0:
            return (steps >= end).to(steps.dtype)
        return ((steps - self.warmup_steps) / length).clamp(0.0, 1.0)

    def extra_repr(self) -> str:
        """Return the arguments of the constructor."""
        names = ("rmax", "dmax", "warmup_steps", "rmax_steps", "dmax_steps")
        return ", ".join([super().extra_repr(), *(f"{n}={getattr(self, n)}" for n in names)])


def _bound(name: str, value: float, least: float) -> float:
    """Return a bound as a float, finite and not less than what it starts from."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RangeError.renorm_bound(name, least, value)
    if not (math.isfinite(value) and value >= least):
        raise RangeError.renorm_bound(name, least, value)
    return float(value)


def _steps(name: str, value: int, least: int) -> int:
    return _check.whole_number(value, least, lambda got: RangeError.renorm_steps(name, least, got))


class BatchRenorm1d(_Renorm):
    """`BatchRenorm2d` for (N, C) or (N, C, L)."""

    _check_input_dim = nn.BatchNorm1d._check_input_dim


class BatchRenorm2d(_Renorm):
    """Batch renormalization: y = weight*(r*x_hat + d) + bias in training.

    r = std/running_std, clipped to [1/rmax, rmax], and d = (mean - running_mean)/running_std,
    clipped to [-dmax, dmax], are constants to the gradient. Where nothing is clipped, y is that of
    evaluation. std is sqrt(var + eps) of the batch, running_std that of the running variance.

    Parameters
    ----------
    num_features, eps, momentum, affine, device, dtype
        As in torch.nn.BatchNorm2d; it always has running statistics.
    rmax, dmax
        The bounds after the warm-up. rmax=1 and dmax=0 are batch normalization.
    warmup_steps
        So many batches are normalized as by BatchNorm2d.
    rmax_steps, dmax_steps
        After so many batches the bounds have grown to rmax and dmax, linearly from 1 and 0. Then
        they stay. `num_batches_tracked` counts batches, so a checkpoint goes on where it was.
    through, sums
        As in `BatchNormAct2d`.

    Notes
    -----
    Source: Ioffe, Batch Renormalization, 2017, algorithm 1 and section 4. The paper averages std;
    here std comes from the running variance of BatchNorm2d, so that evaluation and checkpoints are
    the same.
    `forward(x, residual=None, mask=None)` takes a bool mask, see `batch_norm`; r and d are those of
    what counts.
    State: that of torch.nn.BatchNorm2d. It is not a subclass of it.
    A forward pass that activation checkpointing repeats has other running statistics than the
    first one: keep these layers out of it.
    Accuracy: as `batch_norm`.
    Cost: two forward passes of `batch_norm`, the first for the statistics, and one backward pass.

    Examples
    --------
    >>> import torch
    >>> from backnorm.torch import BatchRenorm2d
    >>> layer = BatchRenorm2d(1, warmup_steps=0, rmax_steps=0, dmax_steps=0)
    >>> x = torch.tensor([0.0, 2.0]).reshape(2, 1, 1, 1)
    >>> layer(x).flatten().round(decimals=4).tolist()  # by running statistics of 0 and 1
    [0.0, 2.0]
    """

    _check_input_dim = nn.BatchNorm2d._check_input_dim


class BatchRenorm3d(_Renorm):
    """`BatchRenorm2d` for (N, C, D, H, W)."""

    _check_input_dim = nn.BatchNorm3d._check_input_dim
