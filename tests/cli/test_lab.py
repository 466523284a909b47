"""The command backnorm lab: its lists of numbers, the page, and the recorded experiment."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from backnorm.cli import main
from backnorm.lab.arithmetic import terms
from backnorm.lab.recording import recorded
from backnorm.lab.screen import screen
from backnorm.lab.summary import summary

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def lab(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["lab", *arguments])


@pytest.mark.parametrize(
    ("arguments", "batch"),
    [
        ("1 2 4 8 --dy 1 0 0 0", ([1, 2, 4, 8], [1, 0, 0, 0])),
        ("--dy 1 0 0 0 --eps 1e-3 1 2 4 8", ([1, 2, 4, 8], [1, 0, 0, 0], 1e-3)),
        ("-1 -.5 2e-3 --dy -1 0 -2.5 --eps 0", ([-1, -0.5, 2e-3], [-1, 0, -2.5], 0)),
        ("1,2,4,-8 --dy 1,0,0 0", ([1, 2, 4, -8], [1, 0, 0, 0])),
        ("-1,-2 --dy=-1,0", ([-1, -2], [-1, 0])),
        ("-- -1 5", ([-1, 5], [1, 0])),
        ("3 4 --eps=0.5", ([3, 4], [1, 0], 0.5)),
    ],
)
def test_numbers_are_lists(arguments: str, batch: tuple[list[float], list[float], float]) -> None:
    """Before and after options, negative ones too; dy is 1 0 0 ... if it is not given."""
    result = lab(*arguments.split())
    assert result.exit_code == 0, result.output
    assert result.stdout == screen(terms(*batch))


def test_random_values_follow_the_seed() -> None:
    """Without numbers there are four; with --dy as many as it has."""
    drawn = np.random.default_rng(7).normal(1, 2, 4).round(2)
    assert lab("--seed", "7").stdout == screen(terms(drawn, [1, 0, 0, 0]))
    assert lab().stdout == lab("--seed", "0").stdout != lab("--seed", "1").stdout
    drawn = np.random.default_rng(7).normal(1, 2, 2).round(2)
    assert lab("--seed", "7", "--dy", "3", "-1").stdout == screen(terms(drawn, [3, -1]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("1 2 a", "'a' is not a number"),
        ("1 2 --dy 1 b", "'b' is not a number"),
        ("1 2 --dy 1", "--dy takes one number for each value: 2, got 1"),
        ("1 2 --dy", "--dy needs numbers"),
        ("--dy --eps 0 1 2", "--dy needs numbers"),
        ("1 2 --eps", "--eps needs a number"),
        ("1 2 --eps --seed 1", "--eps needs a number"),
        ("--seed", "--seed needs a whole number"),
        ("--html", "--html needs a file name"),
        ("--html=", "--html needs a file name"),
        ("--html --eps 1", "--html needs a file name"),
        ("--dy ,", "',' holds no number"),
        ("1,2;4", "'2;4' is not a number"),
        ("1 2 3 4 5 6 7 8 9", "a screen shows at most 8 values, got 9"),
        ("1 2 --dy 1 0 --seed 3", "--seed has no effect: all values are given"),
        ("1 2 --html page.html", "--html takes no values"),
        ("2 2 --eps 0", "Pass different values, or --eps greater than 0."),
        ("2 nan", "x must hold finite numbers, got nan"),
        ("1e-200 2e-200 --eps 0", "Multiply the values, or pass --eps greater than 0."),
        ("--eps -1", "eps must be a finite number, 0 or greater, got -1.0"),
        ("experiments", "'experiments' is not a number. Do you mean `backnorm lab experiment`?"),
        ("exprimnet --recorded", "Do you mean `backnorm lab experiment`?"),
        ("--page", "No such option"),
        ("experiment --network vgg", "Invalid value for '--network'"),
        ("experiment --rate 0", "Invalid value for '--rate'"),
        ("experiment --recorded --seeds 3", "--seeds cannot be used with --recorded"),
        ("experiment --recorded --rate 0.3", "does not have the learning rate 0.3"),
    ],
)
def test_wrong_use_says_what_is_right(arguments: str, words: str) -> None:
    """One line with the reason, and status 2."""
    result = lab(*arguments.split())
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""


def test_the_help_names_the_experiment() -> None:
    """And the help of the experiment is its own."""
    assert "backnorm lab experiment --help" in lab("--help").stdout
    assert "lab experiment [OPTIONS]" in lab("experiment", "--help").stdout


def test_the_page_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `page_html` returns; stderr says where it is, and nothing is printed."""
    page = ModuleType("backnorm.lab.page")
    page.page_html = lambda: "<!doctype html>\n"
    monkeypatch.setitem(sys.modules, "backnorm.lab.page", page)
    result = lab("--html", str(tmp_path / "lab.html"))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"wrote {tmp_path / 'lab.html'}: open it in a browser\n"
    assert (tmp_path / "lab.html").read_text() == "<!doctype html>\n"


def test_the_recorded_run_is_shown(tmp_path: Path) -> None:
    """Without training, with a figure if that is asked for."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed; make test has it")
    file = tmp_path / "figure.png"
    result = lab("experiment", "--recorded", "--plot", str(file))
    assert result.exit_code == 0, result.output
    assert result.stdout == summary(recorded())
    assert file.read_bytes().startswith(b"\x89PNG")


def test_a_part_of_the_recorded_run_is_shown() -> None:
    """--network and --rate choose from it."""
    result = lab("experiment", "--recorded", "--network", "mlp", "--rate", "0.1", "--rate", "0.5")
    assert result.stdout == summary(recorded().only(("mlp",), (0.1, 0.5)))


def test_a_figure_without_matplotlib_is_refused_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the tables, and before any training."""
    monkeypatch.setattr("backnorm.lab.figures.find_spec", lambda _: None)
    result = lab("experiment", "--recorded", "--plot", str(tmp_path / "figure.png"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "matplotlib" in result.stderr


def test_a_figure_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    """Before any training."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed; make test has it")
    result = lab("experiment", "--plot", str(tmp_path / "missing" / "figure.png"))
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


def test_a_whole_file_is_shown_again(tmp_path: Path) -> None:
    """The run of a file that has every training trains nothing."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    file = tmp_path / "run.json"
    recorded().write(file)
    seeds = str(len(recorded().grid.seeds))
    result = lab("experiment", "--json", str(file), "--seeds", seeds)
    assert result.exit_code == 0, result.output
    assert result.stdout == summary(recorded())
