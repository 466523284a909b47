"""Hypothesis strategies for the engine: small batches with a bounded condition number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st

from backnorm.testing.cases import LAYOUTS, Batch, make

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Shape

__all__ = ["MOST_CONDITION", "batches", "condition", "layouts", "shapes"]

MOST_CONDITION = 1e3
"""Largest sqrt(1 + mean^2/var) at which properties are checked: x_hat is then exact to 1e-13."""

layouts = st.sampled_from(sorted(LAYOUTS))


def shapes(*, least_n: int = 3) -> st.SearchStrategy[Shape]:
    """Return shapes (N, C, ...) of two to four axes, with at least least_n values per channel."""
    spatial = st.lists(st.integers(1, 5), max_size=2).map(tuple)
    return st.tuples(st.integers(least_n, 9), st.integers(1, 5), spatial).map(
        lambda parts: (parts[0], parts[1], *parts[2])
    )


@st.composite
def batches(draw: st.DrawFn, *, dtype: str = "float64", least_n: int = 3) -> Batch:
    """Draw a batch: any shape and layout, mean/std up to 300, std from 2^-10 to 2^10."""
    offset = draw(st.floats(-300, 300, width=32))
    std = 2.0 ** draw(st.integers(-10, 10))
    seed = draw(st.integers(0, 2**32 - 1))
    batch = make(draw(shapes(least_n=least_n)), dtype, offset=offset, std=std, seed=seed)
    while condition(batch.x) > MOST_CONDITION:  # few values, close to each other: spread them
        batch.x[0] += np.asarray(std, batch.x.dtype)
    return batch.laid_out(draw(layouts))


def condition(x: AnyArray) -> float:
    """Return the factor from a rounding of the mean to x_hat: the largest sqrt(1 + mean^2/var)."""
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    wide = x.astype(np.float64)
    return float(np.sqrt(1 + wide.mean(axis=axes) ** 2 / wide.var(axis=axes)).max())
