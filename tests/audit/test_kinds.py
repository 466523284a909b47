"""How x falls apart into rows that share their statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backnorm.audit import audit
from backnorm.audit.kinds import KINDS, geometry

if TYPE_CHECKING:
    from backnorm._types import AnyArray

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


class NoEps:
    """Standardizes over the samples, without eps: of two samples y is 0.7 and -0.7."""

    sample_shape, has_gamma, has_beta = (6,), False, False

    def __init__(self, *, whole: bool = True) -> None:
        self.whole = whole

    def forward(self, x: AnyArray, *_: object) -> Any:
        """Return y and the cache."""
        std = x.std(0, ddof=1)
        return (x - x.mean(0)) / std, ((x - x.mean(0)) / std, std)

    def backward(self, dy: AnyArray, cache: Any) -> Any:
        """Return dx."""
        x_hat, std = cache
        through_mean = dy.mean(0) if self.whole else 0.0
        through_variance = x_hat * (dy * x_hat).sum(0) / (len(dy) - 1)
        return (dy - through_mean - through_variance) / std, None, None


@pytest.mark.parametrize("seed", range(25, 30))
def test_rounding_is_not_an_error_where_y_does_not_change(seed: int) -> None:
    """Whatever kind it was taken for; with its own kind it is called by its law."""
    assert audit(NoEps(), kind="layer", quick=True, seed=seed).sound is None
    record = audit(NoEps(), quick=True, seed=seed)
    assert (record.sound, record.mode, record.through) == (True, "batch", "both")


def test_what_is_wrong_beside_it_is_found() -> None:
    """The path through the mean is missing."""
    assert audit(NoEps(whole=False), kind="layer", quick=True).sound is False
    assert audit(NoEps(whole=False), quick=True).through == "variance"
