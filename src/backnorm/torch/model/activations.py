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

    from backnorm._types import Float64Array
    from backnorm.audit.kinds import Geometry

    Function = Callable[[torch.Tensor], torch.Tensor]

__all__ = ["BENT", "Activation", "bent", "functions", "parts", "smooth"]

REACH: Final = 8.0
"""Values of u that are inverted: beyond, the usual activations are straight or flat."""

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
class Activation:
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
}
"""Activations without a parameter."""

BENT: Final[dict[str, tuple[Callable[[Float64Array], Float64Array], Any]]] = {
    "leaky_relu": (np.asarray, F.leaky_relu),
    "elu": (np.expm1, F.elu),
}
"""Activations that are u above 0, and below 0 a multiple of a function of u: that function, and
the activation, whose second argument is the multiple."""


def functions() -> Iterator[Activation]:
    """Yield the activations without a parameter."""
    for name, function in FUNCTIONS.items():
        yield Activation(name, function, _rising(function))


def bent(name: str, share: float) -> Activation:
    """Return an activation of `BENT`, which is inverted above 0 only."""

    def function(u: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(BENT[name][1](u, share))

    return Activation(f"{name} ({share:.3g})", function)


def parts(module: nn.Module, geometry: Geometry) -> Iterator[Activation]:
    """Yield the parts of a layer that may be an activation.

    Parameters
    ----------
    module
        The layer.
    geometry
        How x is divided into rows.

    Yields
    ------
    Activation
        A part without parts inside, as a copy.
    """
    for part in module.modules():
        if part is module or next(part.children(), None) is not None:
            continue
        own = partial(_called, copy.deepcopy(part).double().cpu())
        try:
            rising = _rising(own)
        except Exception:  # noqa: BLE001 - foreign code; a parameter for each channel does this
            rising = (0.0, REACH)
        yield Activation(type(part).__name__, own, rising, geometry)


def _called(part: nn.Module, u: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(part(u.clone()))  # a copy: it may work in place


def _rising(function: Function) -> tuple[float, float]:
    """Return the longest interval in which an activation rises; empty if there is no such one."""
    grid = np.linspace(-REACH, REACH, 321)
    rising = np.diff(Activation("", function)(grid)) > STEEP * np.diff(grid)
    ends = np.flatnonzero(np.diff(np.concatenate([[0], rising.astype(int), [0]])))
    if not len(ends):
        return (0.0, 0.0)
    longest = 2 * int(np.argmax(ends[1::2] - ends[::2]))
    return float(grid[ends[longest]]), float(grid[ends[longest + 1]])


def smooth(activation: Activation, u: Float64Array) -> npt.NDArray[np.bool_]:
    """Tell the elements whose slope rounding cannot change, as it may next to a kink."""
    step = KINK_STEP * float(np.sqrt(np.mean(u**2)))
    change = activation.slope(u + step) - activation.slope(u - step)
    return np.asarray(np.abs(change) < KINK_SLOPE)
