"""The gradient of the gradient of a batch of which this rank has a part.

Formulas and letters as in `engine.formula.second` and docs/mathematics.md; but the sums are those
of all ranks. They are taken in float64, so the last digits depend on the cut of the batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import torch

from backnorm.torch.engine.formula import Steps, grad_through_activation, per_channel, total

if TYPE_CHECKING:
    from backnorm.torch.distributed.parts import Law

__all__ = ["SUMS", "Part"]

SUMS: Final = 7
"""How many sums of each channel are taken over all ranks."""


class Part(NamedTuple):
    """What the second backward pass of this rank begins with, in float64.

    Attributes
    ----------
    x_hat, dz, u
        The input normalized, the gradient before the activation, and the outer gradient of dx.
    a, b, residual
        The outer gradients of the others; residual may be None.
    inv_std, scale
        Shape (C,); scale is weight*inv_std.
    n
        How many values a channel has on all ranks.
    reduce_parameters
        Whether gradients of parameters are those of all ranks. Then each is a function of every
        rank's samples, and the outer gradients of all ranks add up: the loss is the sum of theirs.
    """

    x_hat: torch.Tensor
    dz: torch.Tensor
    u: torch.Tensor
    a: torch.Tensor
    b: torch.Tensor
    residual: torch.Tensor | None
    inv_std: torch.Tensor
    scale: torch.Tensor
    n: int
    reduce_parameters: bool

    @staticmethod
    def of(
        outer: Steps,
        dz: torch.Tensor,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        statistics: torch.Tensor,
        *,
        reduce_parameters: bool,
    ) -> Part:
        """Normalize x again, by the statistics of all ranks."""
        mean, low, _, inv_std, n = statistics
        centred = (x.double() - per_channel(mean, x)) - per_channel(low, x)
        none = torch.zeros_like(inv_std)
        return Part(
            centred * per_channel(inv_std, x),
            dz,
            torch.zeros_like(dz) if outer.x is None else outer.x.double(),
            none if outer.weight is None else outer.weight.double(),
            none if outer.bias is None else outer.bias.double(),
            outer.residual,
            inv_std,
            inv_std if weight is None else weight.double() * inv_std,
            max(int(n[0]), 1),  # no value: nothing is divided by it
            reduce_parameters,
        )

    def sums(self) -> torch.Tensor:
        """Return those of this rank, shape (SUMS, C)."""
        dz, u, x_hat, a, b = self.dz, self.u, self.x_hat, self.a, self.b
        own = [total(values) for values in (dz, dz * x_hat, u, u * x_hat, u * dz)]
        last = [a, b] if self.reduce_parameters else [a * own[0], a * own[1]]
        return torch.stack([*own, *last])

    def gradients(
        self, sums: torch.Tensor, y: torch.Tensor | None, law: Law
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return those of dy, x and the weight, from the sums of all ranks."""
        x_hat, dz, u, a, b, residual, inv_std, scale, n, reduces = self
        of_dz, of_dz_x, of_u, of_u_x, of_u_dz, first, second = sums
        if reduces:
            a, b = first, second
            first, second = a * of_dz, a * of_dz_x

        def spread(values: torch.Tensor) -> torch.Tensor:
            return per_channel(values, dz)

        # Eq. (24) and (25).
        projected = u - spread(of_u / n) - x_hat * spread(of_u_x / n)
        for_dz = projected * spread(scale) + x_hat * spread(a) + spread(b)
        if residual is not None:
            for_dz = for_dz + residual.double()
        inner = of_u_dz - (of_u * of_dz + of_u_x * of_dz_x) / n
        for_weight = inner if reduces else total(projected * dz)
        # w of Eq. (26), the gradient of x_hat. Its sums follow from the others.
        w = dz * spread(a - scale * of_u_x / n) - u * spread(scale * of_dz_x / n)
        of_w = first - scale * (of_u * of_dz_x + of_dz * of_u_x) / n
        of_w_x = second - 2.0 * scale * of_u_x * of_dz_x / n
        for_x = w - spread(of_w / n) - x_hat * spread((of_w_x + scale * inner) / n)
        for_dy = grad_through_activation(for_dz, y, law)
        return for_dy, for_x * spread(inv_std), for_weight * inv_std
