"""Data for the law of exact sums, and its results as bytes."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

import backnorm as bn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backnorm._types import AnyArray, Shape
    from backnorm.testing.cases import Batch

__all__ = ["DISTRIBUTIONS", "correctly_rounded", "digest", "results"]

Rng = np.random.Generator


def _bfloat16(values: AnyArray) -> AnyArray:
    return (values.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)


def _whole_range(rng: Rng, shape: Shape) -> AnyArray:
    """From 1e-45 to 3e38, of either sign."""
    return np.exp2(rng.uniform(-149.0, 128.0, shape)) * rng.choice([-1.0, 1.0], shape)


DISTRIBUTIONS: Mapping[str, Callable[[Rng, Shape], AnyArray]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "mean/std 10": lambda rng, shape: rng.standard_normal(shape) + 10,
    "mean/std 1e3": lambda rng, shape: rng.standard_normal(shape) + 1e3,
    "mean/std 1e6": lambda rng, shape: rng.standard_normal(shape) + 1e6,
    "relu": lambda rng, shape: np.maximum(rng.standard_normal(shape), 0),
    "uniform": lambda rng, shape: rng.random(shape),
    "Laplace": lambda rng, shape: rng.laplace(size=shape),
    "Student t3": lambda rng, shape: rng.standard_t(3, shape),
    "Cauchy": lambda rng, shape: rng.standard_cauchy(shape),
    "lognormal(0,1)": lambda rng, shape: rng.lognormal(0, 1, shape),
    "lognormal(0,2)": lambda rng, shape: rng.lognormal(0, 2, shape),
    "lognormal(0,9)": lambda rng, shape: rng.lognormal(0, 9, shape),
    "bfloat16 normal": lambda rng, shape: _bfloat16(rng.standard_normal(shape)),
    "1e-3 and noise": lambda rng, shape: 1e-3 + 1e-9 * rng.standard_normal(shape),
    "normal, one outlier": lambda rng, shape: _outlier(rng.standard_normal(shape)),
    "subnormal": lambda rng, shape: rng.standard_normal(shape) * 1e-41,
    "tiny": lambda rng, shape: rng.standard_normal(shape) * 1e-37,
    "huge": lambda rng, shape: rng.uniform(-3e38, 3e38, shape),
    "1e-45 to 3e38": _whole_range,
    "zero": lambda _, shape: np.zeros(shape),
    "constant": lambda _, shape: np.full(shape, 0.1),
}


def _outlier(values: AnyArray) -> AnyArray:
    values.reshape(-1)[-1] = 1e4
    return values


def correctly_rounded(x: AnyArray, dy: AnyArray) -> dict[str, AnyArray]:
    """Return mean, var and dbeta of each channel from fractions; x has shape (N, C, ...)."""
    found: dict[str, list[float]] = {"mean": [], "var": [], "dbeta": []}
    for c in range(x.shape[1]):
        values, gradient = ([Fraction(float(v)) for v in a[:, c].ravel()] for a in (x, dy))
        mean = sum(values, Fraction(0)) / len(values)
        square = sum((v * v for v in values), Fraction(0)) / len(values)
        found["mean"].append(float(mean))
        found["var"].append(float(square - mean * mean))
        found["dbeta"].append(float(sum(gradient, Fraction(0))))
    return {name: np.array(numbers) for name, numbers in found.items()}


def results(
    batch: Batch, *, kernel: str = "auto", frozen: str = "batch", **options: Any
) -> list[AnyArray]:
    """Return all that the engine computes by the law; options are the forward pass's."""
    wanted: dict[str, Any] = {"sums": "exact", "activation": "leaky_relu", **options}
    backward = {"through": wanted.pop("through", "both")}
    parameters = batch.gamma, batch.beta
    given = {**wanted, **batch.frozen(frozen), "kernel": kernel}
    fwd = bn.batch_norm(batch.x, *parameters, **given)
    g = bn.batch_norm_backward(batch.dy, fwd, kernel=kernel, **backward)  # type: ignore[arg-type]
    arrays = [fwd.y, *fwd.saved.statistics, g.dx, g.dgamma, g.dbeta, g.dresidual]
    return [a for a in arrays if a is not None]


def digest(arrays: list[AnyArray]) -> str:
    """Return one sha256 of all values, in the order of their indices."""
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()
