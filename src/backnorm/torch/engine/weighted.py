"""Weighted statistics, y and the gradient in tensor operations, in float64.

No shape depends on values: what does not count is set to 0 and has the weight 0. A mask of bool has
the weights 0 and 1. PyTorch can differentiate these formulas, as often as it likes.
docs/mathematics.md derives them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from backnorm.results import StatisticsRow
from backnorm.torch.engine.activations import ACTIVATIONS
from backnorm.torch.engine.formula import grad_through_activation, per_channel, total

if TYPE_CHECKING:
    from backnorm.torch.engine.kernels import CallOptions

__all__ = [
    "WeightedChannels",
    "WeightedParts",
    "chosen",
    "gradients",
    "over",
    "unbiased",
    "where_counted",
    "where_weighted",
]


class WeightedParts(NamedTuple):
    """The gradients by x, the weight, the bias, the residual and the weights of positions."""

    x: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    residual: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class WeightedChannels:
    """x normalized by weighted statistics: x_hat has the shape of x, the others broadcast over it.

    Attributes
    ----------
    x_hat, inv_std, mean, var
        As in docs/mathematics.md; functions of x and the weights unless they are frozen.
    gamma
        The weight of the layer, or ones.
    shares
        The weights of positions as parts of their total, shape (N, 1, ...).
    sum_of_weights
        Their total; 1 if nothing counts.
    training
        Whether the statistics depend on x.
    """

    x_hat: torch.Tensor
    inv_std: torch.Tensor
    mean: torch.Tensor
    var: torch.Tensor
    gamma: torch.Tensor
    shares: torch.Tensor
    sum_of_weights: torch.Tensor
    training: bool

    @staticmethod
    def of(
        x: torch.Tensor,
        mask: torch.Tensor,
        weight: torch.Tensor | None,
        statistics: torch.Tensor | None,
        options: CallOptions,
        *,
        detached: bool = False,
    ) -> WeightedChannels:
        """Normalize x; by the rows of statistics in evaluation.

        With `detached` a statistic is a constant where `options.through` says so.
        """
        wide = chosen(x, mask)
        weights = where_weighted(mask, mask).to(wide.dtype)  # no derivative by a weight of 0
        sum_of_weights = weights.sum()
        sum_of_weights = torch.where(
            sum_of_weights > 0, sum_of_weights, torch.ones_like(sum_of_weights)
        )
        shares = (weights / sum_of_weights).unsqueeze(1)
        if options.training or statistics is None:
            first = over(wide * shares)
            # The mean of the deviations is 0 but for rounding, which it corrects.
            low = over((wide - first) * shares)
            mean = first + low
            centred = wide - first - low
            var = over(centred * centred * shares)
            if detached and options.through in ("variance", "none"):
                centred, mean = wide - first.detach() - low.detach(), mean.detach()
            if detached and options.through in ("mean", "none"):
                var = var.detach()
            inv_std = (var + options.eps).rsqrt()
        else:
            mean = per_channel(statistics[StatisticsRow.MEAN], x)
            centred = wide - mean
            var = per_channel(statistics[StatisticsRow.VAR], x)
            inv_std = per_channel(statistics[StatisticsRow.INV_STD], x)
        gamma = torch.ones_like(inv_std)
        if weight is not None:
            gamma = per_channel(weight.to(wide.dtype), x)
        return WeightedChannels(
            centred * inv_std,
            inv_std,
            mean,
            var,
            gamma,
            shares,
            sum_of_weights,
            options.training,
        )

    @property
    def curve(self) -> torch.Tensor:
        """How the variance depends on the share of a position, in units of the variance + eps."""
        return self.x_hat * self.x_hat - self.var * self.inv_std * self.inv_std

    def moves(self, options: CallOptions) -> tuple[bool, bool]:
        """Whether the gradient goes through the mean, and through the variance."""
        through = options.through if self.training else "none"
        return through in ("both", "mean"), through in ("both", "variance")

    def normalize(
        self,
        bias: torch.Tensor | None,
        residual: torch.Tensor | None,
        mask: torch.Tensor,
        options: CallOptions,
    ) -> torch.Tensor:
        """Return y; 0 where nothing counts."""
        z = self.x_hat * self.gamma
        if bias is not None:
            z = z + per_channel(bias.to(z.dtype), z)
        if residual is not None:
            z = z + chosen(residual, mask)
        y = ACTIVATIONS[options.activation].apply(z, options.negative_slope)
        return where_counted(y, mask)


def gradients(
    dy: torch.Tensor,
    k: WeightedChannels,
    mask: torch.Tensor,
    y: torch.Tensor | None,
    options: CallOptions,
) -> WeightedParts:
    """Return all gradients, in float64; 0 where nothing counts."""
    through_mean, through_variance = k.moves(options)
    dz = grad_through_activation(chosen(dy, mask), y, options)
    along, along_h = over(dz), over(dz * k.x_hat)
    d, by_share = dz, torch.zeros_like(dz)
    if through_mean:
        d = d - k.shares * along
        by_share = by_share - k.x_hat * along
    if through_variance:
        d = d - k.shares * k.x_hat * along_h
        by_share = by_share - k.curve * along_h / 2
    of_mask = (by_share * k.gamma).sum(1) / k.sum_of_weights
    return WeightedParts(
        where_counted(d * k.gamma * k.inv_std, mask),
        total(dz * k.x_hat),
        total(dz),
        dz,
        where_weighted(of_mask, mask),
    )


def unbiased(shares: torch.Tensor) -> torch.Tensor:
    """Return the factor from the biased variance to the unbiased one, 1/(1 - sum(shares^2)).

    1 - sum(shares^2) is the sum of the products of all pairs, twice: so nothing cancels.
    """
    flat = shares.detach().flatten()
    return 0.5 / (flat[1:] * flat.cumsum(0)[:-1]).sum()


def chosen(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return values in float64, and 0 where nothing counts."""
    # A device such as mps has no float64.
    wide = values.float() if values.device.type == "mps" else values.double()
    return where_counted(wide, mask)


def where_counted(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return values (N, C, ...), and 0 where nothing counts."""
    return torch.where(_counts(mask).unsqueeze(1), values, torch.zeros_like(values))


def _counts(mask: torch.Tensor) -> torch.Tensor:
    return mask if mask.dtype == torch.bool else mask > 0


def where_weighted(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return values of the shape of the mask, and 0 where nothing counts."""
    return torch.where(_counts(mask), values, torch.zeros_like(values))


def over(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of each channel, in a shape that broadcasts over the values."""
    return values.sum([axis for axis in range(values.dim()) if axis != 1], keepdim=True)
