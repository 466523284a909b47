"""Statistics of one layer, pooled exactly over its calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from backnorm.moments import Moments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm._types import Float64Array, Variance

__all__ = ["PooledStatistics"]


MASK: Final = 2
"""Where forward of the engine's layers has the mask; those of torch.nn take one argument."""


class PooledStatistics:
    """Mean and variance of the inputs of all calls, in any order.

    Attributes
    ----------
    values
        Moments of all values.
    squares
        Moments of the sums of squared deviations from the mean of a call, one value a call.
    """

    __slots__ = ("squares", "values")

    def __init__(self) -> None:
        self.values = Moments()
        self.squares = Moments()

    @property
    def calls(self) -> int:
        """How many calls there were."""
        return self.squares.n

    def add(self, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        """Add the input of one call of a layer, (N, C, ...): what counts of it."""
        x: torch.Tensor = given[0] if given else named["input"]
        mask = given[MASK] if len(given) > MASK else named.get("mask")
        values = x.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values  # NumPy has none
        call = Moments()
        call.update(values.resolve_neg().numpy(), mask=None if mask is None else mask.cpu().numpy())
        if call.n:
            self.values.merge(call)
            self.squares.update((call.n * call.var)[np.newaxis])

    def merge(self, other: PooledStatistics) -> None:
        """Add the calls of other."""
        self.values.merge(other.values)
        self.squares.merge(other.squares)

    def mean(self) -> Float64Array:
        """Return the mean of all values."""
        return self.values.mean

    def degrees(self, variance: Variance) -> int:
        """Return what the sum of squared deviations is divided by."""
        return self.values.n - (1 if variance == "total" else self.calls)

    def unbiased_var(self, variance: Variance) -> Float64Array:
        """Return the variance as running statistics keep it, if `degrees` is 1 or more."""
        if variance == "total":
            return self.values.unbiased_var
        return self.squares.mean * (self.calls / self.degrees(variance))
