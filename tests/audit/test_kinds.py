"""How x falls apart into rows that share their statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backnorm.audit.kinds import KINDS, geometry

SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...], int, tuple[int, ...]]] = {
    # kind: shape, parameter shape, groups, axes of the statistics in NumPy's own words
    "batch": ((5, 4, 3, 2), (4,), 1, (0, 2, 3)),
    "layer": ((5, 7, 3, 2), (3, 2), 1, (2, 3)),
    "instance": ((5, 4, 3, 2), (4,), 1, (2, 3)),
    "rms": ((5, 6), (6,), 1, (1,)),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_rows_share_the_statistics_of_their_kind(kind: Any) -> None:
    """The means of the rows are NumPy's means over the axes of the kind."""
    shape, parameter_shape, groups, axes = SHAPES[kind]
    x = np.random.default_rng(1).standard_normal(shape)
    rows = geometry(kind, shape, parameter_shape, groups).rows(x)
    assert np.array_equal(np.sort(rows.mean(axis=1)), np.sort(x.mean(axes).ravel())) or (
        np.abs(np.sort(rows.mean(axis=1)) - np.sort(x.mean(axes).ravel())).max() < 1e-15
    )


def test_groups_take_neighbouring_channels() -> None:
    """The first row of two groups of four channels is the first sample's first two channels."""
    x = np.arange(2 * 4 * 3.0).reshape(2, 4, 3)
    rows = geometry("group", x.shape, (4,), groups=2).rows(x)
    assert rows[0].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", KINDS)
def test_from_rows_undoes_rows(kind: Any) -> None:
    """Into rows and back gives the same array."""
    shape = (5, 4, 3, 2)
    parameter_shape = (3, 2) if kind in ("layer", "rms") else (4,)
    g = geometry(kind, shape, parameter_shape, groups=2)
    x = np.random.default_rng(2).standard_normal(shape)
    assert np.array_equal(g.from_rows(g.rows(x)), x)
    assert g.rows(x).shape == (x.size // g.n, g.n)


@pytest.mark.parametrize("kind", KINDS)
def test_a_parameter_stands_beside_its_values(kind: Any) -> None:
    """Spreading gamma gives what broadcasting in x's shape gives."""
    shape = (5, 4, 3, 2)
    layer = kind in ("layer", "rms")
    gamma = np.arange(6.0).reshape(3, 2) if layer else np.arange(4.0)
    g = geometry(kind, shape, gamma.shape, groups=2)
    whole = np.broadcast_to(gamma if layer else gamma.reshape(4, 1, 1), shape)
    assert np.array_equal(g.spread(gamma, 1.0), g.rows(whole))
    assert np.all(g.spread(None, 1.0) == 1.0)
