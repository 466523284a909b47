"""Two ways of the engine beside each other: how they are named, timed and shown."""

from __future__ import annotations

import pytest

import ways
from backnorm.bench.suites import BenchCase

SMALL = BenchCase("small", (2, 3, 4, 4), 1)


def test_a_way_is_a_list_of_names_and_values() -> None:
    """What is not named is the default."""
    assert ways.way("") == ways.Way()
    assert ways.way("kernel=numpy,dtype=float64") == ways.Way("float64", "numpy", "float64")


@pytest.mark.parametrize("text", ["threads=2", "kernel", "kernel="])
def test_an_unknown_way_is_refused(text: str) -> None:
    """With the names that there are."""
    message = f"A way must be a list of NAME=VALUE, NAME one of sums, kernel, dtype, got {text}."
    with pytest.raises(SystemExit, match=message):
        ways.way(text)


@pytest.mark.parametrize(("layout", "op"), ways.COLUMNS)
def test_both_ways_are_called_as_they_are_named(
    layout: str, op: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel, the law and the dtype of each; the bytes are those of the second."""
    seen = []

    def watched(name: str) -> None:
        real = getattr(ways.ops, name)

        def call(*arrays: object, **options: object) -> object:
            seen.append((name, options["kernel"], arrays[0].dtype.name, options.get("sums")))
            return real(*arrays, **options)

        monkeypatch.setattr(ways.ops, name, call)

    watched("batch_norm")
    watched("batch_norm_backward")
    both = ways.Way(sums="exact", kernel="numpy"), ways.Way(dtype="float64")
    found = ways.quotient(SMALL, layout, op, both, rounds=1)
    assert found.bytes == 2 * 3 * 4 * 4 * 8
    name = "batch_norm" if op == "forward" else "batch_norm_backward"
    laws = ("exact", "float64") if op == "forward" else (None, None)
    assert {(name, "numpy", "float32", laws[0]), (name, "auto", "float64", laws[1])} <= set(seen)


def test_the_table_has_sums_and_ranges() -> None:
    """A row for each size, a column for each layout and pass; empty where nothing was timed."""
    found = [
        ways.Quotient("nchw", "forward", 10**6, 2.0, 1.0),
        ways.Quotient("nchw", "forward", 10**6, 3.0, 3.0),
        ways.Quotient("nhwc", "backward", 10**8, 1.0, 4.0),
    ]
    assert ways.table(found) == (
        "| | nchw forward | nchw backward | nhwc forward | nhwc backward |\n"
        "|---|---|---|---|---|\n"
        "| up to 8 MiB | 1.25 (1.00 to 2.00) |  |  |  |\n"
        "| larger |  |  |  | 0.25 (0.25 to 0.25) |\n"
        "| of these 50 MB and more |  |  |  | 0.25 (0.25 to 0.25) |"
    )
