"""Gather the values that a mask lets count, and put y back between zeros, by PyTorch's operators.

They are linear, and PyTorch knows all their derivatives: what is between them computes only what
counts, of any order. masked_select and masked_scatter copy bits; an index would add them to zeros,
and turn -0 into 0.
"""

from __future__ import annotations

import torch

from backnorm.errors import DtypeError, ShapeError

__all__ = ["check", "gather", "spread"]


def check(mask: object, x: torch.Tensor) -> torch.Tensor:
    """Return the mask if it is bool or float and has the shape of x without its channels."""
    if not isinstance(mask, torch.Tensor):
        raise DtypeError.not_a_tensor("mask", mask)
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise DtypeError.no_weights(mask.dtype)
    want = (*x.shape[:1], *x.shape[2:])
    if mask.shape != want:
        raise ShapeError.mask(mask.shape, want, x.shape)
    return mask


def gather(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the values that count, shape (count, C)."""
    chosen = values.movedim(1, -1).masked_select(mask.unsqueeze(-1))
    return chosen.reshape(-1, values.shape[1])


def spread(values: torch.Tensor, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return values of shape (count, C) where they came from, and 0 elsewhere, like x."""
    y = torch.zeros_like(x)
    y.movedim(1, -1).masked_scatter_(mask.unsqueeze(-1), values)
    return y
