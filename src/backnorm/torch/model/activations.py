"""Activations within normalization layers: the functions that are known, and the layer's parts."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from backnorm._types import Float64Array, Shape
    from backnorm.audit.kinds import Geometry
    from backnorm.torch.model.calls import Layer

    Function = Callable[[torch.Tensor], torch.Tensor]

__all__ = ["BENT", "ElementFunction", "bent", "functions", "parts", "smooth"]

REACH: Final = 8.0
"""Values of u that are inverted: beyond, the usual activations are straight or flat."""

GRID: Final = np.concatenate([[-1000.0], np.linspace(-20.0, 20.0, 801), [1000.0]])
"""Values of u at which f is looked at; the outermost tell its limits."""

STEEP: Final = 0.1
"""Smallest slope of f where u follows from y: the rounding of y grows tenfold at most."""

HALVINGS: Final = 46
"""Steps of the bisection: 16/2^46 is 2e-13."""

KINK_STEP: Final = 1e-4
"""Distance to a kink, relative to the size of u, below which rounding may decide on the slope."""

KINK_SLOPE: Final = 0.02
"""Change of the slope across a kink: relu6 has 1 and hardsigmoid 0.17; a smooth f changes by 1e-4
within the step."""


@dataclass(frozen=True, slots=True, eq=False)
class ElementFunction:
    """An activation: y = f(u), element by element.

    Attributes
    ----------
    name
        Its name.
    function
        f, in float64.
    rising
        An interval of u in which y rises.
    geometry
        For a part of the layer: it is called in the shape of x, since it may have a parameter for
        each channel. None for a function, which takes any shape.
    """

    name: str
    function: Function
    rising: tuple[float, float] = (0.0, REACH)
    geometry: Geometry | None = None

    def __call__(self, u: Float64Array) -> Float64Array:
        """Return y of u, both as rows."""
        with torch.no_grad():
            return self._as_rows(self.function(torch.tensor(self._shaped(u))))

    def slope(self, u: Float64Array) -> Float64Array:
        """Return dy/du, as rows."""
        with torch.enable_grad():
            leaf = torch.tensor(self._shaped(u), requires_grad=True)
            (slope,) = torch.autograd.grad(self.function(leaf).sum(), leaf)
        return self._as_rows(slope)

    def inverse(self, y: Float64Array) -> Float64Array:
        """Return the u in the rising interval, and NaN where y has no such u."""
        low, high = (np.full(y.shape, end) for end in self.rising)
        inside = (y > self(low)) & (y < self(high))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            above = self(middle) < y
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return np.where(inside, (low + high) / 2, np.nan)

    def _shaped(self, u: Float64Array) -> Float64Array:
        return u if self.geometry is None else self.geometry.from_rows(u)

    def _as_rows(self, y: torch.Tensor) -> Float64Array:
        plain = np.asarray(y.detach().numpy())
        return plain if self.geometry is None else self.geometry.rows(plain)


def _quick_gelu(u: torch.Tensor) -> torch.Tensor:
    return u * torch.sigmoid(1.702 * u)


def _squared_relu(u: torch.Tensor) -> torch.Tensor:
    return F.relu(u) ** 2


def _tanh_gelu(u: torch.Tensor) -> torch.Tensor:
    return F.gelu(u, approximate="tanh")


FUNCTIONS: Final[dict[str, Function]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu (tanh)": _tanh_gelu,
    "gelu (sigmoid)": _quick_gelu,
    "hardswish": F.hardswish,
    "mish": F.mish,
    "selu": F.selu,
    "softplus": F.softplus,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "hardtanh": F.hardtanh,
    "hardsigmoid": F.hardsigmoid,
    "logsigmoid": F.logsigmoid,
    "softsign": F.softsign,
    "squared relu": _squared_relu,
}
"""Activations without a parameter."""

BENT: Final[dict[str, tuple[Callable[[Float64Array], Float64Array], Any]]] = {
    "leaky_relu": (np.asarray, F.leaky_relu),
    "elu": (np.expm1, F.elu),
}
"""Activations that are u above 0, and below 0 a multiple of a function of u: that function, and
the activation, whose second argument is the multiple."""


def functions() -> Iterator[ElementFunction]:
    """Yield the activations without a parameter."""
    for name, function in FUNCTIONS.items():
        yield ElementFunction(name, function, _rising(function))


def bent(name: str, share: float) -> ElementFunction:
    """Return an activation of `BENT`, which is inverted above 0 only."""

    def function(u: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(BENT[name][1](u, share))

    return ElementFunction(f"{name} ({share:.3g})", function)


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
                    rising = _rising(own) if where is None else (0.0, REACH)
                    yield ElementFunction(type(part).__name__, own, rising, where)
                    break
            except Exception:  # noqa: BLE001, S112 - foreign code, in a shape it may not take
                continue


def _called(part: nn.Module, u: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(part(u.clone()))  # a copy: it may work in place


def _is_elementwise(function: Function, shape: Shape) -> bool:
    """Whether a change of some elements changes no others."""
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(shape, generator=generator, dtype=torch.float64)
    moved = torch.rand(shape, generator=generator) < 0.5  # noqa: PLR2004
    first, second = function(u), function(u + moved)
    return first.shape == u.shape and torch.equal(first[~moved], second[~moved])


def _rising(function: Function) -> tuple[float, float]:
    """Return the longest interval in which f rises, and takes values that it has nowhere else.

    The interval is empty if there is no such interval.
    """
    y = ElementFunction("", function)(GRID)
    before, after = np.maximum.accumulate(y), np.minimum.accumulate(y[::-1])[::-1]
    rising = (np.diff(y) > STEEP * np.diff(GRID)) & (y[:-1] >= before[:-1]) & (y[1:] <= after[1:])
    rising &= (GRID[:-1] >= -REACH) & (GRID[1:] <= REACH)
    ends = np.flatnonzero(np.diff(np.concatenate([[0], rising.astype(int), [0]])))
    if not len(ends):
        return (0.0, 0.0)
    longest = 2 * int(np.argmax(ends[1::2] - ends[::2]))
    return float(GRID[ends[longest]]), float(GRID[ends[longest + 1]])


def smooth(activation: ElementFunction, u: Float64Array) -> npt.NDArray[np.bool_]:
    """Tell the elements whose slope rounding cannot change, as it may next to a kink."""
    step = KINK_STEP * float(np.sqrt(np.mean(u**2)))
    change = activation.slope(u + step) - activation.slope(u - step)
    return np.asarray(np.abs(change) < KINK_SLOPE)
