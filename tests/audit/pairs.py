"""NumPy pairs with laws and faults of their own, for the tests of the audit."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

AXES = (0, 2, 3)


def column(parameter: Any) -> Any:
    """Return (C,) as (1, C, 1, 1)."""
    return parameter.reshape(1, -1, 1, 1)


def unchanged(value: Any) -> Any:
    """Return what is given."""
    return value


@dataclass(frozen=True)
class Law:
    """Batch normalization with a choice of law, and its exact gradient."""

    ddof: int = 0
    eps: float = 1e-5
    outside: bool = False
    gamma_law: Callable[[Any], Any] = unchanged
    dtypes: tuple[str, ...] = ("float32", "float64")

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        centred = x - x.mean(AXES, keepdims=True)
        var = x.var(AXES, ddof=self.ddof, keepdims=True)
        std = np.sqrt(var) + self.eps if self.outside else np.sqrt(var + self.eps)
        g = column(self.gamma_law(gamma))
        return g * centred / std + column(beta), (centred, std, np.sqrt(var), g, gamma)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        centred, std, bare, g, gamma = cache
        n = dy.size / dy.shape[1] - self.ddof
        root = bare if self.outside else std
        dvar = -(g * dy * centred).sum(AXES, keepdims=True) / (2 * std**2 * root)
        d = g * dy / std
        dx = d - d.mean(AXES, keepdims=True) + dvar * 2 * centred / n
        dgamma = (dy * centred / std).sum(AXES)
        if self.gamma_law(-1.0) == 1.0:  # |gamma|
            dgamma = dgamma * np.sign(gamma)
        return dx, dgamma, dy.sum(AXES)


@dataclass(frozen=True)
class EpsElsewhere:
    """eps outside the root in the forward pass, inside in the gradient."""

    eps: float

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        return Law(eps=self.eps, outside=True).forward(x, gamma, beta)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        return Law(eps=self.eps).backward(dy, cache)


class HalfOfTheMean:
    """Half of the path through the mean is lost."""

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        return Law().forward(x, gamma, beta)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        dx, dgamma, dbeta = Law().backward(dy, cache)
        _, std, _, g, _ = cache
        return dx + 0.5 * (g * dy / std).mean(AXES, keepdims=True), dgamma, dbeta


class Shifted:
    """x_hat is shifted by a constant: the batch's variance, and a centre that is not its mean."""

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        return Law().forward(x, gamma, beta - 0.3 * gamma)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        dx, dgamma, dbeta = Law().backward(dy, cache)
        return dx, dgamma - 0.3 * dbeta, dbeta


class Relu:
    """A sound pair with a relu behind it: y has kinks."""

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        y, cache = Law().forward(x, gamma, beta)
        return np.maximum(y, 0), (y, cache)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        y, inner = cache
        return Law().backward(dy * (y > 0), inner)


class Wave(Law):
    """A sine behind a normalization: no activation that layers have."""

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        y, cache = super().forward(x, gamma, beta)
        return np.sin(y), (y, cache)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        y, inner = cache
        return super().backward(dy * np.cos(y), inner)


class Float32Inside:
    """Takes float64 and computes in float32."""

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        y, cache = Law().forward(*(a.astype(np.float32) for a in (x, gamma, beta)))
        return y.astype(x.dtype), cache

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        return Law().backward(dy.astype(np.float32), cache)


class Running:
    """Normalizes with running statistics, which each call moves."""

    def __init__(self) -> None:
        self.mean = 0.0

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        self.mean = 0.5 * self.mean + 0.5 * x.mean(AXES, keepdims=True)
        g = column(gamma)
        return g * (x - self.mean) + column(beta), (x - self.mean, g)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        x_hat, g = cache
        d = g * dy
        dx = d - 0.5 * d.mean(AXES, keepdims=True)
        return dx, (dy * x_hat).sum(AXES), dy.sum(AXES)


class Unrepeatable:
    """Counts its calls where no copy can reach, and lets y depend on the count."""

    counter = itertools.count()

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        y, cache = Law().forward(x, gamma, beta)
        return y * (1 + 0.1 * (next(self.counter) % 3)), cache

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        return Law().backward(dy, cache)


class Racing:
    """A backward pass whose threads race: in every other call one row of dx is lost."""

    share = 1.0

    def __init__(self) -> None:
        self.calls = itertools.count()

    def __deepcopy__(self, memo: Any) -> Any:
        """Keep the count, as a race does not restart with a copy."""
        return self

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        return Law().forward(x, gamma, beta)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        dx, dgamma, dbeta = Law().backward(dy, cache)
        dx[0] *= 1 - self.share * (next(self.calls) % 2)
        return dx, dgamma, dbeta


class RacingAndWrong(Racing):
    """The same with a small race, and a dx that is wrong in every call."""

    share = 0.02

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        dx, dgamma, dbeta = super().backward(dy, cache)
        return 2 * dx, dgamma, dbeta


class LastBits(Racing):
    """A sum in another order in every other call: the last bits of dx differ, as on a GPU."""

    share = 3e-7


class WrongInFloat32:
    """Forgets the variance, in float32 only."""

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        return Law().forward(x, gamma, beta)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        dx, dgamma, dbeta = Law().backward(dy, cache)
        if dy.dtype == np.float32:
            _, std, _, g, _ = cache
            d = g * dy / std
            dx = d - d.mean(AXES, keepdims=True)
        return dx, dgamma, dbeta


@dataclass(frozen=True)
class Faulty:
    """A right pair whose forward or backward result is passed through something."""

    after_forward: Callable[[Any], Any] = unchanged
    after_backward: Callable[[Any], Any] = unchanged

    def forward(self, x: Any, gamma: Any, beta: Any) -> Any:
        """Return what `after_forward` makes of y and the cache."""
        return self.after_forward(Law().forward(x, gamma, beta))

    def backward(self, dy: Any, cache: Any) -> Any:
        """Return what `after_backward` makes of the gradients."""
        return self.after_backward(Law().backward(dy, cache))
