"""Sums of values from the smallest to the largest float32, on a group of some ranks."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from backnorm.torch import SyncBatchNorm
from backnorm.torch.distributed import operators

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CHANNELS", "EPS", "fractions", "sums", "values"]

CUTS = (13, 0, 1, 26)
SIZE = sum(CUTS)
EPS = 1e-5
GLOBAL = True  # gradients of parameters
DEFERRED = False  # running statistics
LAW = (EPS, "identity", 0.01, "both")
CHANNELS = ("all", "largest", "smallest", "offset", "cancelling", "one value", "usual")


def values(seed: int) -> torch.Tensor:
    """Return float32 values, shape (SIZE, C)."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], SIZE)
    one = np.zeros(SIZE)
    one[5] = 1e-45
    half = rng.uniform(1e38, 3e38, SIZE // 2)
    columns = [
        signs * 10.0 ** rng.uniform(-45, 38.4, SIZE),
        rng.uniform(2e38, 3e38, SIZE),
        signs * 10.0 ** rng.uniform(-45, -38, SIZE),
        rng.normal(1e7, 1.0, SIZE),
        rng.permutation(np.concatenate([half, -half])),
        one,
        rng.normal(size=SIZE),
    ]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))


def sums(rank: int, groups: Sequence[Any]) -> list[torch.Tensor]:
    """Return the statistics, dgamma and dbeta of two passes on one rank and on all four.

    The first pass of a layer sends whole limbs, the second one windows where they fit.
    """
    edges = list(itertools.accumulate(CUTS, initial=0))
    found = []
    cuts = {1: slice(None), 4: slice(*edges[rank : rank + 2])}
    for size, own in cuts.items():
        layer = SyncBatchNorm(len(CHANNELS))
        for _ in range(2 if rank < size else 0):
            name = groups[size - 1].group_name
            found.append(_pass(values(0)[own], values(1)[own], layer, name))
    return found


def _pass(x: torch.Tensor, dy: torch.Tensor, layer: SyncBatchNorm, group: str) -> torch.Tensor:
    weight, bias = torch.ones(2, len(CHANNELS), dtype=torch.float64).requires_grad_().unbind()
    _, statistics, _ = operators.FORWARD(
        x, weight, bias, None, None, layer._layer, len(CHANNELS), DEFERRED, GLOBAL, group, *LAW
    )
    _, dgamma, dbeta, _ = operators.BACKWARD(
        dy, x, None, weight, bias, None, statistics, layer._layer, GLOBAL, group, *LAW, [True] * 4
    )
    return torch.cat([statistics[:4], dgamma[None], dbeta[None]]).detach()


def fractions(channel: int) -> list[float]:
    """Return mean, low and var, and both sums of the backward pass, each rounded once.

    The second one is not multiplied by inv_std yet.
    """
    x, dy = ([Fraction(v) for v in values(seed)[:, channel].tolist()] for seed in (0, 1))
    mean = sum(x) / SIZE
    low = mean - Fraction(float(mean))
    var = sum(v * v for v in x) / SIZE - mean * mean
    centred = sum(g * (v - mean) for g, v in zip(dy, x, strict=True))
    return [float(f) for f in (mean, low, var, centred, sum(dy))]
