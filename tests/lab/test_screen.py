"""The screen of `backnorm lab`: its numbers are the engine's, and it fits a terminal."""

from __future__ import annotations

import numpy as np
import pytest

import backnorm as bn
from backnorm.lab.arithmetic import SmallBatch, forms, terms
from backnorm.lab.screen import MOST_VALUES, screen

X, DY = [1.0, -2.5, 4.0, 8.25, 0.5], [1.0, 0.25, -3.0, 0.0, 0.125]


def rows(text: str, n: int) -> tuple[list[list[float]], list[list[float]]]:
    """The numbers of both tables."""
    lines = text.splitlines()
    starts = [index + 2 for index, line in enumerate(lines) if line.strip().startswith("x  ")]
    first, second = (
        [[float(word) for word in line.split()] for line in lines[start : start + n]]
        for start in starts
    )
    return first, second


def shown(values: np.ndarray) -> list[float]:
    """Four significant digits."""
    return [float(f"{value:.4g}") for value in values]


def test_the_numbers_are_the_engines() -> None:
    """Every column is computed by `batch_norm_backward` with some of the statistics."""
    first, second = rows(screen(terms(X, DY)), len(X))
    x, dy = np.array(X)[:, None], np.array(DY)[:, None]
    fwd = bn.batch_norm(x)
    dx = {
        through: bn.batch_norm_backward(dy, fwd, through=through).dx[:, 0]
        for through in ("both", "mean", "variance", "none")
    }
    direct = dx["none"]
    expected = (X, DY, direct, dx["mean"] - direct, dx["variance"] - direct, dx["both"], dx["both"])
    assert np.transpose(first).tolist() == [shown(column) for column in expected]
    cut = (dx["variance"], dx["mean"], direct)
    assert np.transpose(second).tolist() == [
        shown(column) for column in (X, fwd.y[:, 0], *cut, dx["both"], dx["both"])
    ]


def test_the_errors_are_those_of_the_columns() -> None:
    """The largest error of a column, in parts of the largest dx."""
    text = screen(terms([0.0, 0.0, 4.0, 4.0], [1.0, 0.0, 0.0, 3.0], eps=0.0))
    [line] = [line for line in text.splitlines() if "wrong by" in line]
    assert line.split() == ["wrong", "by", "66.7%", "33.3%", "100.0%", "0", "0"]


def test_two_values_have_no_gradient() -> None:
    """Without eps it is 0, whatever the values: nothing of the direct part is right."""
    text = screen(terms([1.0, 3.0], [1.0, 0.0], eps=0.0))
    first, _ = rows(text, 2)
    assert [row[-2:] for row in first] == [[0, 0], [0, 0]]
    assert text.count("dx is 0") == 3


@pytest.mark.parametrize("n", range(1, MOST_VALUES + 1))
@pytest.mark.parametrize("size", [1.0, -3.14159e-9, 2.71828e9])
def test_it_fits_a_screen(n: int, size: float) -> None:
    """24 to 40 lines of at most 80 columns, for large and small numbers."""
    rng = np.random.default_rng(n)
    lines = screen(terms(size * rng.normal(1, 2, n), rng.normal(0, size**2, n))).splitlines()
    assert 24 <= len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert all(not line.endswith(" ") for line in lines)


def test_columns_stay_apart() -> None:
    """A space stands before every number, however small: here they have eleven characters."""
    first, second = rows(screen(terms([-1e-200, -2e-200], [-1e-200, 0])), 2)
    assert all(len(row) == 7 for row in first + second)


@pytest.mark.parametrize("x", [[1000000001.0, 1000000002.0], [-1.00001, -1.00002, 3.0]], ids=str)
def test_values_that_differ_print_differently(x: list[float]) -> None:
    """The column of x gets as many digits as that takes."""
    first, second = rows(screen(terms(x, [1.0, *[0.0] * (len(x) - 1)])), len(x))
    assert [row[0] for row in first] == [row[0] for row in second] == x


def test_forms_that_differ_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The word "equal" is about numbers that were compared."""
    batch = terms(X, DY)
    assert screen(batch).count("(equal)") == 2

    def other(_: SmallBatch) -> object:
        return forms(terms(X, [2.0, *DY[1:]]))

    monkeypatch.setattr("backnorm.lab.screen.forms", other)
    assert screen(batch).count("(differs by ") == 2
