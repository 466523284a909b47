"""What the engine should give for a batch: exactly, and by float64 arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import backnorm as bn
from backnorm import reference
from backnorm.reference._activation import DEFINITIONS
from backnorm.testing.budget import assert_within_budget
from oracles import extended

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Through
    from backnorm.testing.cases import Batch

EPS = 1e-5


@dataclass(frozen=True)
class Options:
    """What may be chosen beside the arrays."""

    mode: str = "batch"
    activation: Any = "identity"
    residual: bool = False
    through: Through = "both"
    negative_slope: float = 0.125
    eps: float = EPS

    def forward(self, batch: Batch, kernel: str = "auto") -> bn.Forward:
        """Run the engine's forward pass."""
        return bn.batch_norm(
            batch.x,
            batch.gamma,
            batch.beta,
            eps=self.eps,
            activation=self.activation,
            negative_slope=self.negative_slope,
            residual=batch.residual if self.residual else None,
            kernel=kernel,
            **batch.frozen(self.mode),
        )


@dataclass(frozen=True)
class Expected:
    """The results, exact in long double and rounded once to float64, and what was added up."""

    exact: dict[str, AnyArray]
    rounded: dict[str, AnyArray]
    scale: dict[str, AnyArray]

    def judge(self, **got: AnyArray | None) -> None:
        """Assert that each result named keeps the budget."""
        for name, value in got.items():
            assert value is not None
            assert_within_budget(
                value,
                self.exact[name],
                rounded=self.rounded[name],
                scale=self.scale[name],
                channel_axis=min(1, value.ndim - 1),
            )


def expected(batch: Batch, options: Options | None = None, *, oracle: Any = extended) -> Expected:
    """Compute the results with twice the digits of long double, and by the reference.

    oracle=reference is quicker, and exact enough for what is narrower than float64.
    """
    options = options or Options()
    frozen = {"eps": options.eps, **batch.frozen(options.mode)}
    # The reference takes float64, which holds every value of the narrower formats.
    x, dy, residual = (a.astype(np.float64) for a in (batch.x, batch.dy, batch.residual))
    gamma, beta = batch.gamma.astype(np.float64), batch.beta.astype(np.float64)
    exact_forward = oracle.forward(x, gamma, beta, **frozen)
    rounded_forward = reference.forward(x, gamma, beta, **frozen)
    added = residual if options.residual else np.zeros(1)
    exact = {"y": _activate(exact_forward.y + added, options)}
    rounded = {"y": _activate(rounded_forward.y + added, options)}
    # The branch is read from y in its own dtype, as the engine and docs/mathematics.md have it.
    y = rounded["y"].astype(batch.x.dtype)
    # Exactly representable slopes only, or dz would be rounded before it is added up.
    slope = reference.activation_gradient(y, options.activation, options.negative_slope)
    dz = dy * slope
    frozen["through"] = options.through
    for results, backward in ((exact, oracle.backward), (rounded, reference.backward)):
        g = backward(dz, x, gamma, **frozen)
        results.update(dx=g.dx, dgamma=g.dgamma, dbeta=g.dbeta, dresidual=dz)
    x_hat = rounded_forward.x_hat
    spread = (-1,) + (1,) * (x.ndim - 2)
    d = dz * (gamma * rounded_forward.inv_std).reshape(spread)
    v = d + x_hat * _mean(d * x_hat).reshape(spread)
    scale = {
        "y": np.maximum(_largest(rounded_forward.y), np.maximum(_largest(added + 0 * x), beta)),
        "dx": np.maximum(_largest(d), _largest(v)),
        "dgamma": _added(dz * x_hat, batch),
        "dbeta": _added(dz, batch),
        "dresidual": np.zeros(1),
    }
    return Expected(exact, rounded, scale)


def _activate(z: AnyArray, options: Options) -> AnyArray:
    """Apply the activation in the dtype of z, while `reference.activate` converts to float64."""
    return DEFINITIONS[options.activation].value(z, options.negative_slope)


def _others(values: AnyArray) -> tuple[int, ...]:
    return tuple(axis for axis in range(values.ndim) if axis != 1)


def _largest(values: AnyArray) -> AnyArray:
    return np.asarray(np.abs(values).max(axis=_others(values)))


def _mean(values: AnyArray) -> AnyArray:
    return np.asarray(values.mean(axis=_others(values)))


def _added(terms: AnyArray, batch: Batch) -> AnyArray:
    """What a float64 sum has to carry; for the other formats a sum in float64 is exact enough."""
    if batch.x.dtype != np.float64:
        return np.zeros(1)
    return np.asarray(np.abs(terms).sum(axis=_others(terms)))


def statistics(batch: Batch) -> Expected:
    """Compute mean, var and inv_std of the batch; n roundings of a sum grow like sqrt(n)."""
    x = batch.x.astype(np.float64)
    want, near = extended.forward(x, eps=EPS), reference.forward(x, eps=EPS)
    names = ("mean", "var", "inv_std")
    sizes = {"mean": _mean(np.abs(x)), "var": near.var, "inv_std": near.inv_std}
    return Expected(
        {name: getattr(want, name) for name in names},
        {name: getattr(near, name) for name in names},
        {name: sizes[name] * np.sqrt(near.n) for name in names},
    )
