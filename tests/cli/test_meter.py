"""How far a long command is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from backnorm import _meter as meters
from backnorm._meter import metered
from backnorm.cli import main
from backnorm.cli._jobs import Stage
from backnorm.cli._progress import AuditJob, ModelProgress

SAMPLE = Path(__file__).parents[1] / "files" / "samples" / "torch.pt"


@dataclass
class Clock:
    """Seconds that a test sets."""

    now: float = 100.0

    def __call__(self) -> float:
        """Return them."""
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was said since the last call; all of it on stderr."""
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def run(seconds: float, total: int | None, count: int) -> None:
    """Do some parts of a work, each of which takes some seconds."""
    clock = Clock()
    with metered("test", total, clock=clock) as meter:
        for part in range(count):
            meter.begin(f"part {part}")
            clock.now += seconds
            meter.advance()


def test_a_short_command_says_nothing_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Below ten seconds, however many parts it has."""
    run(0.09, 100, 100)
    assert lines(capsys) == []


def test_a_log_has_a_line_at_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    """With how much is done, for how long it runs, and what is at work."""
    run(5, 100, 100)
    assert lines(capsys) == [
        f"test: {done} of 100 ({done}%), {lasted}, part {done - 1}"
        for done, lasted in (
            (10, "50 s"),
            (20, "1 min 40 s"),
            (30, "2 min 30 s"),
            (40, "3 min 20 s"),
            (50, "4 min 10 s"),
            (60, "5 min 0 s"),
            (70, "5 min 50 s"),
            (80, "6 min 40 s"),
            (90, "7 min 30 s"),
            (100, "8 min 20 s"),
        )
    ]


def test_lines_of_a_log_are_ten_seconds_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """Where a tenth takes less."""
    run(4, 10, 10)
    assert [line.split(",")[1] for line in lines(capsys)] == [" 12 s", " 24 s", " 36 s"]


def test_a_log_has_a_line_each_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """Where a tenth takes longer, or the amount of work is not known."""
    run(30, 1000, 4)
    assert lines(capsys) == [
        "test: 2 of 1000 (0%), 1 min 0 s, part 1",
        "test: 4 of 1000 (0%), 2 min 0 s, part 3",
    ]
    run(45, None, 4)
    assert lines(capsys) == ["test: 1 min 30 s, part 1", "test: 3 min 0 s, part 3"]


def test_each_item_is_done_when_the_next_one_is_asked_for() -> None:
    """While it is at work, it is not counted."""
    with metered("test", 3) as meter:
        assert [(item, meter.done) for item in meter.each("abc")] == [("a", 0), ("b", 1), ("c", 2)]
        assert meter.done == 3


def test_a_terminal_has_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """With how much is done and what is at work; names cannot command the terminal."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with metered("test", 4) as meter:
        meter.at("a [bold]name\x1b[2J", 3, 4)
    shown = sys.stderr.getvalue()
    assert "3 of 4 a [bold]name\\x1b[2J" in shown
    assert shown.rstrip("\r").endswith("\x1b[2K")  # the line is wiped


@pytest.mark.parametrize("name", ["audit", "convert"])
def test_long_commands_say_how_far_they_are(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a log, if each look at the clock is half a minute after the one before."""

    def late(command: str, total: int | None = None) -> object:
        clock = Clock()

        def ticking() -> float:
            clock.now += 30
            return clock.now

        return metered(command, total, clock=ticking)

    monkeypatch.setattr(meters, "metered", late)
    arguments = {
        "audit": ("audit", "engine", "--quick"),
        "convert": ("convert", str(SAMPLE), str(tmp_path / "net.npz"), "--to", "flax"),
    }
    result = CliRunner().invoke(main, arguments[name], catch_exceptions=False)
    wanted = {
        "audit": "audit: 1 of 2 (50%), 2 min 0 s, backnorm.batch_norm (frozen)",
        "convert": "convert: 1 of 3 (33%), 1 min 0 s, converting",
    }
    assert wanted[name] in result.stderr.splitlines()


def test_a_model_tells_how_many_of_its_layers_are_done() -> None:
    """As soon as the first of them is measured."""
    progress = ModelProgress(AuditJob("net.py:Net", model=True), 1.0)
    progress.after({"starting": "net.py:Net", "calls": 1})
    assert progress.stage == Stage("net.py:Net")
    progress.after({"starting": "net.py:Net bn", "measuring": True, "place": [3, 20]})
    assert progress.stage == Stage("net.py:Net bn", done=3, total=20)
