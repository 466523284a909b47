"""Activations within normalization layers: the parts of a layer that work element by element."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from backnorm.audit.measure.activations import GRID, REACH, ElementFunction, rising

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from backnorm._types import Float64Array, Shape
    from backnorm.audit.kinds import Geometry
    from backnorm.torch.model.layers import Layer

__all__ = ["parts"]


def parts(layer: Layer, geometry: Geometry) -> Iterator[ElementFunction]:
    """Yield the parts of a layer that may be an activation.

    Parameters
    ----------
    layer
        The layer.
    geometry
        How x is divided into rows.

    Yields
    ------
    ElementFunction
        A part without parts inside that works element by element, as a copy.
    """
    for part in layer.module.modules():
        if part is layer.inner or next(part.children(), None) is not None:
            continue
        own = partial(_called, copy.deepcopy(part).double().cpu())
        for where in (None, geometry):  # with a parameter for each channel, it needs the shape of x
            try:
                if _is_elementwise(own, GRID.shape if where is None else where.shape):
                    ends = rising(own) if where is None else (0.0, REACH)
                    yield ElementFunction(type(part).__name__, own, ends, where)
                    break
            except Exception:  # noqa: BLE001, S112 - foreign code, in a shape it may not take
                continue


def _called(part: nn.Module, u: Float64Array) -> Float64Array:
    with torch.no_grad():
        return np.asarray(torch.as_tensor(part(torch.tensor(u))))  # a copy: it may work in place


def _is_elementwise(function: Callable[[Float64Array], Float64Array], shape: Shape) -> bool:
    """Whether a change of some elements changes no others."""
    rng = np.random.default_rng(0)
    u, moved = rng.standard_normal(shape), rng.random(shape) < 0.5  # noqa: PLR2004
    first, second = function(u), function(u + moved)
    return first.shape == u.shape and np.array_equal(first[~moved], second[~moved])
