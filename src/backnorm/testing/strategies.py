"""Hypothesis strategies for the engine: small batches whose condition is bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st

from backnorm.testing.cases import LAYOUTS, Batch, make

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Shape

__all__ = ["MOST_CONDITION", "batches", "condition", "layouts", "shapes"]

MOST_CONDITION = 1e3
"""sqrt(1 + mean^2/var) up to which properties are checked: in float64 that leaves 13 digits."""

layouts = st.sampled_from(sorted(LAYOUTS))


def shapes(*, least_n: int = 3) -> st.SearchStrategy[Shape]:
    """Shapes (N, C, ...) of two to four axes, with at least least_n values per channel."""
    rest = st.lists(st.integers(1, 5), max_size=2).map(tuple)
    return st.tuples(st.integers(least_n, 9), st.integers(1, 5), rest).map(
        lambda parts: (parts[0], parts[1], *parts[2])
    )


@st.composite
def batches(draw: st.DrawFn, *, dtype: str = "float64", least_n: int = 3) -> Batch:
    """A batch in a drawn shape and layout, mean/std up to 300, std from 2^-10 to 2^10."""
    offset = draw(st.floats(-300, 300, width=32))
    std = 2.0 ** draw(st.integers(-10, 10))
    seed = draw(st.integers(0, 2**32 - 1))
    batch = make(draw(shapes(least_n=least_n)), dtype, offset=offset, std=std, seed=seed)
    while condition(batch.x) > MOST_CONDITION:  # a few close values: spread them
        batch.x[0] += np.asarray(std, batch.x.dtype)
    return batch.laid_out(draw(layouts))


def condition(x: AnyArray) -> float:
    """How much a rounding of the mean grows in x_hat: sqrt(1 + mean^2/var), the worst channel's."""
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    wide = x.astype(np.float64)
    return float(np.sqrt(1 + wide.mean(axis=axes) ** 2 / wide.var(axis=axes)).max())
