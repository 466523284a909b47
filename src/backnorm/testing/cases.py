"""Named tables of cases for tests of the engine, and their data."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from backnorm import kernels
from backnorm._check import DTYPES, THROUGHS
from backnorm.kernels.activations import NAMES as ACTIVATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backnorm._types import AnyArray, Shape

__all__ = [
    "ACTIVATIONS",
    "BORDERS",
    "DTYPES",
    "KERNELS",
    "LAYOUTS",
    "LEVELS",
    "MODES",
    "OFFSETS",
    "SHAPES",
    "THROUGHS",
    "Batch",
    "dtype_of",
    "make",
    "plain_backward",
    "plain_forward",
]

KERNELS = kernels.available()
"""Every kernel that this machine can run, one for each instruction-set level."""

LEVELS = tuple(name for name in KERNELS if name.startswith("native"))
"""The native kernels among them; empty if the C++ part was not built."""

MODES = ("batch", "frozen")
"""Whether the statistics are those of the batch, or given."""

OFFSETS = (0.0, 1.0, 1e2, 1e4, 1e6)
"""mean/std, up to the largest for which the engine promises its accuracy."""

SHAPES: Mapping[str, Shape] = {
    "batch of vectors": (7, 5),
    "sequence": (3, 4, 6),
    "images": (3, 5, 4, 6),
    "volumes": (2, 3, 2, 3, 4),
    "one channel": (6, 1, 5),
    "two values": (2, 3),
    "channels only": (1, 3, 1, 1),
}
"""Small shapes, with the channel axis at 1."""

BORDERS: Mapping[str, Shape] = {
    "plane just small": (4, 3, 255),
    "plane no longer small": (4, 3, 256),
    "plane with a tail": (4, 3, 257),
    "block but one": (2, 2, 2047),
    "one block": (2, 2, 2048),
    "block and one": (2, 2, 2049),
    "one channel in parts": (1, 1, 20011),
    "two channels in parts": (3, 2, 4500),
    "three channels in parts": (5, 3, 4097),
    "sixteen channels, in one part": (3, 16, 300),
    "planes that share a block": (23, 2, 300),
    "planes of one value": (5000, 1),
    "few rows": (511, 70),
    "as many rows as a tile takes": (512, 70),
    "many rows": (513, 70),
    "rows with a tail in parts": (2051, 37),
    "columns but one": (40, 511),
    "one tile of columns": (40, 512),
    "columns and one": (40, 513),
    "two tiles in parts": (515, 601),
    "small planes, tiles of whole channels": (9, 30, 49),
    "small planes, many rows": (521, 5, 49),
    "folded": (1000, 3),
    "folded once": (1026, 40),
    "folded to whole packs": (1024, 1, 2),
    "fold that an odd number stops": (1001, 3),
    "folded small planes": (96, 2, 9),
    "lanes and one": (3, 2, 17),
    "one lane": (3, 2, 1),
    "one value a channel": (1, 40),
}
"""Shapes around the sizes at which the native kernel takes another path: planes of 256, blocks of
2048, tiles of 512 columns, parts from 512 rows, short rows that are folded, packs of 16 lanes."""


def dtype_of(name: str) -> np.dtype[Any]:
    """Return the dtype of one of DTYPES."""
    return np.dtype(import_module("ml_dtypes").bfloat16 if name == "bfloat16" else name)


# ---- layouts: each function returns the same values in another memory layout. The memory around a
# view holds NaN, so that a read outside of the view shows in the result.


def _contiguous(values: AnyArray) -> AnyArray:
    return values.copy(order="C")


def _channels_last(values: AnyArray) -> AnyArray:
    return np.moveaxis(np.moveaxis(values, 1, -1).copy(order="C"), -1, 1)


def _channels_first(values: AnyArray) -> AnyArray:
    return np.moveaxis(np.moveaxis(values, 1, 0).copy(order="C"), 0, 1)


def _inside(values: AnyArray) -> AnyArray:
    """Return a part of a larger array, smaller on every axis."""
    around = np.full([length + 3 for length in values.shape], np.nan, values.dtype)
    return _filled(around[tuple(slice(1, length + 1) for length in values.shape)], values)


def _some_channels(values: AnyArray) -> AnyArray:
    """Return some neighbouring channels of a larger array."""
    shape = list(values.shape)
    shape[1] += 3
    return _filled(np.full(shape, np.nan, values.dtype)[:, 1:-2], values)


def _strided_channels(values: AnyArray) -> AnyArray:
    """Return every other channel of a larger array."""
    shape = list(values.shape)
    shape[1] *= 2
    return _filled(np.full(shape, np.nan, values.dtype)[:, ::2], values)


def _strided_inside(values: AnyArray) -> AnyArray:
    """Return every third value along the last axis of a larger array."""
    shape = (*values.shape[:-1], 3 * values.shape[-1])
    return _filled(np.full(shape, np.nan, values.dtype)[..., 1::3], values)


def _backwards(values: AnyArray) -> AnyArray:
    every = (slice(None, None, -1),) * values.ndim
    return values[every].copy(order="C")[every]


def _transposed(values: AnyArray) -> AnyArray:
    """Swap the last two axes in memory; for (N, C, L) the first and the last."""
    last = (-1, -2) if values.ndim > 3 else (0, -1)  # noqa: PLR2004
    return np.swapaxes(np.swapaxes(values, *last).copy(order="C"), *last)


def _fortran(values: AnyArray) -> AnyArray:
    return values.copy(order="F")


def _unaligned(values: AnyArray) -> AnyArray:
    """Start one byte after an aligned address."""
    memory = np.zeros(values.nbytes + 1, np.uint8)
    return _filled(memory[1:].view(values.dtype).reshape(values.shape), values)


def _filled(view: AnyArray, values: AnyArray) -> AnyArray:
    view[...] = values
    return view


LAYOUTS: Mapping[str, Callable[[AnyArray], AnyArray]] = {
    "contiguous": _contiguous,
    "channels last": _channels_last,
    "channels first": _channels_first,
    "inside a larger array": _inside,
    "some channels of a larger array": _some_channels,
    "every other channel": _strided_channels,
    "every third value": _strided_inside,
    "backwards": _backwards,
    "transposed": _transposed,
    "Fortran order": _fortran,
    "unaligned": _unaligned,
}


@dataclass(frozen=True, eq=False)
class Batch:
    """The arrays of one call of the engine; channel axis 1."""

    x: AnyArray
    dy: AnyArray
    residual: AnyArray
    gamma: AnyArray
    beta: AnyArray
    running_mean: AnyArray
    running_var: AnyArray

    def laid_out(self, layout: str) -> Batch:
        """Return the same values with x, dy and residual in one of LAYOUTS."""
        copy = LAYOUTS[layout]
        return Batch(copy(self.x), copy(self.dy), copy(self.residual), *self._per_channel())

    def frozen(self, mode: str) -> dict[str, AnyArray]:
        """Return the statistics arguments of one of MODES."""
        if mode == "batch":
            return {}
        return {"running_mean": self.running_mean, "running_var": self.running_var}

    def _per_channel(self) -> tuple[AnyArray, AnyArray, AnyArray, AnyArray]:
        return self.gamma, self.beta, self.running_mean, self.running_var


def make(
    shape: Shape, dtype: str = "float32", *, offset: float = 1.0, std: float = 1.0, seed: int = 0
) -> Batch:
    """Return a seeded batch: x around offset*std, everything else around 0 or 1.

    gamma is 1.5 to 3 of either sign, so that relu6 has values on both sides of 6.
    """
    rng = np.random.default_rng([20150211, seed])
    narrow = dtype_of(dtype)
    c = shape[1]
    arrays = rng.standard_normal((3, *shape))
    x = ((arrays[0] + offset) * std).astype(narrow)
    gamma = rng.uniform(1.5, 3.0, c) * rng.choice([-1.0, 1.0], c)
    beta = rng.uniform(-1.0, 3.0, c)
    running = (offset + rng.standard_normal(c)) * std, rng.uniform(0.5, 2.0, c) * std**2
    return Batch(
        x,
        arrays[1].astype(narrow),
        arrays[2].astype(narrow),
        gamma.astype(narrow),
        beta.astype(narrow),
        *running,
    )


# ---- plain NumPy: the usual formulas, all in the dtype of x


def plain_forward(x: AnyArray, gamma: AnyArray, beta: AnyArray, eps: float = 1e-5) -> AnyArray:
    """Return y by the usual formula, in the dtype of x; channel axis 1."""
    x_hat, _, shape = _plain(x, eps)
    return np.asarray(gamma.reshape(shape) * x_hat + beta.reshape(shape))


def plain_backward(
    dy: AnyArray, x: AnyArray, gamma: AnyArray, eps: float = 1e-5
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Return dx, dgamma and dbeta by the usual formulas, in the dtype of x; channel axis 1."""
    x_hat, inv_std, shape = _plain(x, eps)
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    dgamma, dbeta = (dy * x_hat).sum(axis=axes), dy.sum(axis=axes)
    n = x.dtype.type(x.size // x.shape[1])
    share = (dbeta / n).reshape(shape) + x_hat * (dgamma / n).reshape(shape)
    return gamma.reshape(shape) * inv_std * (dy - share), dgamma, dbeta


def _plain(x: AnyArray, eps: float) -> tuple[AnyArray, AnyArray, tuple[int, ...]]:
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    shape = (1, x.shape[1]) + (1,) * (x.ndim - 2)
    mean, var = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    inv_std = 1 / np.sqrt(var + x.dtype.type(eps))
    return (x - mean) * inv_std, inv_std, shape
