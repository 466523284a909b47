"""What the values of a module say: whether it looks like a normalization, or works by elements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from backnorm.torch.model.readings import readings

if TYPE_CHECKING:
    from backnorm.torch.model.layers import Layer

__all__ = ["changes_alone", "looks_normalized"]

NEAR: Final = 0.1
"""How far mean and mean square of a row may be from 0 and 1: an eps makes the square smaller."""


def looks_normalized(layer: Layer, y: torch.Tensor) -> bool:
    """Whether y has mean 0 and variance 1 in each row, for any kind and order of axes.

    gamma and beta are taken back first. The mean of a layer without a mean may be anything.
    """
    array = y.detach().cpu().double().numpy()
    for reading in readings(layer, array.shape):
        where = reading.geometry
        roles = {role: p.detach().cpu().double().numpy() for role, p in layer.parameters.items()}
        gamma = where.spread(roles.get("gamma"), 1.0)
        u = (where.rows(array) - where.spread(roles.get("beta"), 0.0)) / np.where(gamma, gamma, 1.0)
        mean = 0.0 if reading.kind == "rms" else float(np.median(np.abs(u.mean(axis=1))))
        square = np.median(np.abs(np.mean(u**2, axis=1) - 1.0))
        if where.n > 2 and mean < NEAR and square < NEAR:  # noqa: PLR2004 - two are always 1 apart
            return True
    return False


def changes_alone(function: Any, x: torch.Tensor, y: torch.Tensor) -> bool:
    """Whether a change of some elements of x changes no others of y: then nothing is shared.

    Parameters
    ----------
    function
        Returns y of another x.
    x, y
        What it received, and what it returned.
    """
    generator = torch.Generator().manual_seed(0)
    moved = (torch.rand(x.shape, generator=generator) < 0.5).to(x.device)  # noqa: PLR2004
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first = function(x)
        torch.manual_seed(0)
        second = function(torch.where(moved, x + 1, x))
    if first is None or second is None or first.shape != y.shape:
        return False
    return torch.equal(first[~moved], second[~moved])
