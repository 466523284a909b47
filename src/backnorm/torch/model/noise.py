"""Random gradients that arrive at an output."""

from __future__ import annotations

from typing import Final

import torch

__all__ = ["random_gradient"]

SEED: Final = 271828
"""Not a seed that x itself may come from, such as 0: where dy is x, all paths cancel in dx."""


def random_gradient(y: torch.Tensor) -> torch.Tensor:
    """Return random numbers of the shape of y, the same each time."""
    return torch.randn(y.shape, generator=torch.Generator().manual_seed(SEED)).to(y)
