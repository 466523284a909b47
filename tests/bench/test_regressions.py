"""Which figures of a run are worse than recorded ones."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

from backnorm.bench import regressions
from backnorm.bench.suites import SUITES
from backnorm.bench.summary import BenchRow, by_suite

if TYPE_CHECKING:
    from pathlib import Path

HERE = {"processor": "made up", "level": "avx2", "L2": 1}


@pytest.fixture(autouse=True)
def _on_a_known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regressions, "machine", lambda: HERE)


def row(seconds: float, copy: float = 1.0, noise: float = 0.0) -> BenchRow:
    """A row of made-up seconds."""
    times = {"backnorm": seconds, "copy (plain)": copy, "copy (streaming)": copy}
    quartiles = {"backnorm": (seconds * (1 - noise), seconds * (1 + noise))}
    case = SUITES["dense"][0]
    return BenchRow.of(
        case, "forward", "nchw", "float32", 2, times, {}, cache="L2", quartiles=quartiles
    )


def recorded(rows: list[BenchRow], path: Path, machine: object = HERE) -> Path:
    """Write a run as the command writes it."""
    document = {"rows": [asdict(row) for row in rows], "summary": by_suite(rows)}
    path.write_text(json.dumps(document | ({"machine": machine} if machine else {})))
    return path


def compared(now: BenchRow, path: Path) -> list[str]:
    """The lines for a run of one row."""
    return regressions.compared([now], path)


def test_what_is_as_fast_is_no_regression(tmp_path: Path) -> None:
    """Nor what is faster."""
    path = recorded([row(2.0)], tmp_path / "run.json")
    for seconds in (2.0, 1.0, 2.05):
        assert compared(row(seconds), path) == [f"No figure is worse than in {path}."]


def test_a_slower_shape_is_named_with_both_times(tmp_path: Path) -> None:
    """And the means over the suite that it makes worse."""
    path = recorded([row(2.0)], tmp_path / "run.json")
    first, shape, *means = compared(row(3.0), path)
    assert first == f"4 figures are worse than in {path}:"
    assert shape == ("  dense 64x256 nchw forward: 3000.000 ms, recorded 2000.000 ms (1.50 times)")
    assert means == [
        f"  dense nchw forward, {group}: 3.00 copies, recorded 2.00"
        for group in ("all", "L2", "to 8 MiB")
    ]


def test_a_machine_that_is_busy_does_not_count(tmp_path: Path) -> None:
    """The copy is slower, too."""
    path = recorded([row(2.0)], tmp_path / "run.json")
    assert compared(row(4.0, copy=2.0), path) == [f"No figure is worse than in {path}."]


def test_what_noise_explains_does_not_count(tmp_path: Path) -> None:
    """The fastest quarter is within the recorded quartiles."""
    path = recorded([row(2.0)], tmp_path / "run.json")
    lines = compared(row(3.0, noise=0.4), path)
    assert not any("64x256" in line for line in lines)


def test_only_what_both_runs_have_is_compared(tmp_path: Path) -> None:
    """A mean over other shapes would say nothing, nor would one with other threads."""
    other = replace(row(9.0), shape=(2, 2))
    path = recorded([row(2.0), other], tmp_path / "run.json")
    assert compared(row(2.0), path) == [f"No figure is worse than in {path}."]
    lines = compared(replace(row(3.0), threads=1), path)
    assert lines == [f"Not compared with {path}, which has no such shape with as many threads."]


@pytest.mark.parametrize(
    ("machine", "words"),
    [({**HERE, "L2": 2}, "another machine"), (None, "a machine that it does not name")],
)
def test_another_machine_is_said(machine: object, words: str, tmp_path: Path) -> None:
    """Its times say nothing about these."""
    path = recorded([row(2.0)], tmp_path / "run.json", machine)
    lines = compared(row(3.0), path)
    assert lines == [f"Not compared with {path}, which was recorded on {words}."]
