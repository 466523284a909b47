"""Results of two layers, compared: trees, dtypes and values."""

from __future__ import annotations

from typing import Any

import numpy as np

from backnorm.testing.budget import EPS, FRAMEWORK_PARTS, FRAMEWORK_UNITS, parts

__all__ = ["assert_alike", "assert_same_kinds", "draw", "limit_of"]


def draw(*shape: int, seed: int = 0, offset: float = 0.5) -> Any:
    """Return random numbers in float64 whose mean is not 0."""
    return np.random.default_rng([seed, *shape]).normal(offset, 1.5, shape)


def limit_of(dtype: str) -> float:
    """Return how far two results may be apart, in parts of the largest value."""
    return FRAMEWORK_PARTS.get(dtype) or FRAMEWORK_UNITS * EPS[dtype]


def assert_same_kinds(got: Any, want: Any) -> None:
    """Compare the structures of two trees, and the shapes and dtypes of their arrays."""
    import jax  # noqa: PLC0415 - only where JAX is there

    assert jax.tree.structure(got) == jax.tree.structure(want)
    kinds = [
        [(leaf.shape, leaf.dtype.name) for leaf in map(np.asarray, jax.tree.leaves(tree))]
        for tree in (got, want)
    ]
    assert kinds[0] == kinds[1]


def assert_alike(got: Any, want: Any, limit: float) -> None:
    """Compare the values of two trees, each array in parts of its largest value.

    Where float64 is asked for, arrays of float32 are parameters and statistics.
    """
    import jax  # noqa: PLC0415 - the same

    leaves, _ = jax.tree_util.tree_flatten_with_path(got)
    for (path, ours), theirs in zip(leaves, jax.tree.leaves(want), strict=True):
        dtype = np.asarray(ours).dtype.name
        allowed = max(limit, FRAMEWORK_PARTS["float32"]) if limit and dtype == "float32" else limit
        pair = (np.asarray(value, np.float64) for value in (ours, theirs))
        assert parts(*pair) <= allowed, jax.tree_util.keystr(path)
