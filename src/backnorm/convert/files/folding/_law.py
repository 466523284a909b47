"""Batch norm in eval is affine, so the linear layer before it can do it: the arithmetic of folding.

With y = gamma*(x - mean)/sqrt(var + eps) + beta and x = w*z + b, the layer w' = w*f, b' = (b -
mean)*f + beta with f = gamma/sqrt(var + eps) computes y from z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backnorm.convert.canonical import to_canonical
from backnorm.convert.files._checks import DTYPES
from backnorm.convert.files._dtypes import rounded
from backnorm.convert.files.folding import _reasons as reasons
from backnorm.convert.files.record import LayerFold
from backnorm.convert.files.untold import assumed_of
from backnorm.dialects import row_of
from backnorm.dialects.semantics import eps_used
from backnorm.dialects.settings import settings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm._types import AnyArray, Float64Array
    from backnorm.convert.files.record import NormLayer

__all__ = ["FoldLaw", "KernelAxes", "finite", "fold_law_of", "layer_fold", "why_unfit"]


@dataclass(frozen=True, slots=True)
class KernelAxes:
    """Where the output channels of a kernel lie.

    Attributes
    ----------
    axis
        0, or 1 as in a transposed convolution and in a matrix that is multiplied from the right.
    groups
        With axis 1: into how many groups axis 0 is divided; each has its own output channels.
    """

    axis: int
    groups: int = 1

    def channels(self, shape: Sequence[int]) -> int:
        """Return the number of output channels of a kernel; -1 if it cannot have this shape."""
        if len(shape) <= self.axis or self.groups < 1 or shape[0] % self.groups:
            return -1
        return shape[self.axis] * (self.groups if self.axis else 1)

    def spread(self, factor: Float64Array, shape: Sequence[int]) -> Float64Array:
        """Return a factor for each output channel in a shape that multiplies the kernel."""
        if self.axis == 0:
            return factor.reshape(-1, *[1] * (len(shape) - 1))
        rows = np.repeat(factor.reshape(self.groups, -1), shape[0] // self.groups, axis=0)
        return rows.reshape(*shape[:2], *[1] * (len(shape) - 2))


@dataclass(frozen=True, slots=True)
class FoldLaw:
    """A norm in eval as (x - mean)*factor + beta, float64, shape (C,).

    Attributes
    ----------
    factor
        gamma/sqrt(var + eps). [y]/[x]
    mean, beta
        [x], [y]
    """

    factor: Float64Array
    mean: Float64Array
    beta: Float64Array

    def kernel(self, kernel: AnyArray, axes: KernelAxes) -> AnyArray:
        """Return the folded kernel, rounded once to its dtype."""
        with np.errstate(all="ignore"):  # what is not finite is refused afterwards
            wide = kernel.astype(np.float64) * axes.spread(self.factor, kernel.shape)
        return rounded(wide, kernel.dtype)

    def scaled(self, bias: AnyArray, dtype: np.dtype) -> AnyArray:
        """Return a bias to which another term is added before the norm."""
        with np.errstate(all="ignore"):
            return rounded(bias.astype(np.float64) * self.factor, dtype)

    def bias(self, bias: AnyArray | None, dtype: np.dtype) -> AnyArray:
        """Return the folded bias, shape (C,), rounded once to a dtype; None stands for 0."""
        before = np.zeros_like(self.mean) if bias is None else bias.astype(np.float64)
        with np.errstate(all="ignore"):
            return rounded((before - self.mean) * self.factor + self.beta, dtype)


def fold_law_of(layer: NormLayer) -> FoldLaw:
    """Return what a norm computes in eval.

    Parameters
    ----------
    layer
        With its options; those that the file does not tell are the dialect's defaults.

    Returns
    -------
    FoldLaw
        In float64; not finite where var + eps is 0 or less.

    Raises
    ------
    ConversionError
        If a value of the state is NaN or infinite.
    UnknownNameError, RangeError
        If an option does not exist or has a wrong value.
    """
    row = row_of(layer.dialect)
    settings = settings_of(row, layer.options, complete=False)
    state = {name: array.astype(np.float64) for name, array in layer.state.items()}
    canonical = to_canonical(row, settings, state)
    eps = 0.0 if canonical.var_holds_eps else eps_used(row, settings, np.dtype(np.float32))
    gamma = np.ones_like(canonical.mean) if canonical.gamma is None else canonical.gamma
    beta = np.zeros_like(canonical.mean) if canonical.beta is None else canonical.beta
    with np.errstate(all="ignore"):
        return FoldLaw(gamma / np.sqrt(canonical.var + eps), canonical.mean, beta)


def finite(*arrays: AnyArray) -> bool:
    """Return whether all values are finite."""
    return all(bool(np.isfinite(array.astype(np.float64)).all()) for array in arrays)


def why_unfit(name: str, weights: AnyArray, axes: KernelAxes, channels: int) -> str:
    """Return why the weights of a layer cannot take a norm of so many channels, or nothing."""
    if weights.dtype.name not in DTYPES:
        return reasons.wrong_dtype(name, weights.dtype)
    if axes.channels(weights.shape) != channels:
        return reasons.wrong_channels(name, weights.shape, channels)
    return ""


def layer_fold(layer: NormLayer, result: tuple[str, str]) -> LayerFold:
    """Return the record of a norm: the layer that it is folded into or "", and why it is left."""
    into, why_left = result
    row = row_of(layer.dialect)
    decisive = {row.eps.known.name, row.fixed_gamma.known.name}
    assumed = {name: value for name, value in assumed_of(layer).items() if name in decisive}
    given = assumed if into else {}
    return LayerFold(layer.name, layer.dialect, layer.channels, into, why_left, given)
