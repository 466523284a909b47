"""The recording of the experiment: the file, what continues it, and how it is shown."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from statistics import median
from typing import TYPE_CHECKING

import pytest

from backnorm.errors import BenchmarkError, FileError
from backnorm.lab.figures import COLORS, draw
from backnorm.lab.grid import Grid
from backnorm.lab.recording import Recording, recorded, rounded
from backnorm.lab.summary import summary

if TYPE_CHECKING:
    from pathlib import Path

    from backnorm.lab.recording import TrainingOutcome

GRID = Grid(networks=("mlp",), rates=(0.1, 0.5), seeds=(0, 1), epochs=2)


def outcome(right: int, norm: float | None = 3.0) -> TrainingOutcome:
    """What a training might leave."""
    return {
        "loss": [1.5, 0.25],
        "accuracy": [0.5, right / 360],
        "weight_norm": [2.0, norm],
        "gradient_norm": [1.0, 0.5],
        "right": right,
        "right_by_batch": right,
    }


def whole(grid: Grid = GRID) -> Recording:
    """A recording in which every training has another outcome."""
    outcomes = {training: outcome(i) for i, training in enumerate(grid.trainings())}
    return Recording(grid, {"torch": "2.0"}, outcomes)


def test_the_recorded_run_is_whole() -> None:
    """Every training of its grid is there, with a value for each epoch, and the file is small."""
    recording = recorded()
    grid = recording.grid
    assert list(recording.outcomes) == grid.trainings()
    assert {"torch", "numpy", "kernel", "processor"} <= recording.environment.keys()
    for result in recording.outcomes.values():
        series = ("loss", "accuracy", "weight_norm", "gradient_norm")
        assert {len(result[name]) for name in series} == {grid.epochs}
        assert result["accuracy"][-1] == rounded(result["right"] / 360)
    assert len(recording.to_json().encode()) < 120_000


def test_the_recorded_run_is_that_of_the_command() -> None:
    """The usual grid: what `backnorm lab experiment` trains without options."""
    assert recorded().grid == Grid()
    assert recorded().grid.command() == "backnorm lab experiment"


def test_a_file_is_read_as_it_was_written() -> None:
    """And it is JSON with the documented names."""
    text = whole().to_json()
    assert Recording.from_json(text) == whole()
    values = json.loads(text)
    names = [
        "schema",
        "command",
        "environment",
        "of",
        "networks",
        "through",
        "rates",
        "seeds",
        "epochs",
        "runs",
    ]
    assert list(values) == names
    assert values["runs"][0].keys() >= {"network", "through", "rate", "seed", "loss", "right"}
    assert values["command"] == (
        "backnorm lab experiment --network mlp --rate 0.1 --rate 0.5 --seeds 2 --epochs 2"
    )


def test_numbers_are_rounded_and_those_not_finite_left_out() -> None:
    """JSON has no NaN."""
    assert rounded([1.23456, 0.000123456, float("nan"), float("inf")]) == [
        1.235,
        0.0001235,
        None,
        None,
    ]
    assert rounded(351) == 351


def test_a_file_is_continued(tmp_path: Path) -> None:
    """Also by more seeds: what is there is kept."""
    file = tmp_path / "run.json"
    whole().write(file)
    more = Grid(GRID.networks, GRID.rates, (0, 1, 2), GRID.epochs)
    recording = Recording.begun(more, file)
    assert recording.grid == more
    assert recording.outcomes == whole().outcomes


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', '{"runs": 3}'])
def test_another_file_is_not_written_over(text: str, tmp_path: Path) -> None:
    """What is not a recording stays."""
    file = tmp_path / "run.json"
    file.write_text(text)
    with pytest.raises(BenchmarkError, match="does not hold a recording of the lab"):
        Recording.begun(GRID, file)
    assert file.read_text() == text


@pytest.mark.parametrize(
    "grid",
    [
        Grid(("resnet",), GRID.rates, GRID.seeds, GRID.epochs),
        Grid(GRID.networks, (0.1,), GRID.seeds, GRID.epochs),
        Grid(GRID.networks, GRID.rates, (0,), GRID.epochs),
        Grid(GRID.networks, GRID.rates, GRID.seeds, 3),
    ],
    ids=["network", "rate", "seeds", "epochs"],
)
def test_no_training_is_lost(grid: Grid, tmp_path: Path) -> None:
    """A grid without some trainings of the file does not continue it."""
    whole().write(tmp_path / "run.json")
    with pytest.raises(BenchmarkError, match="trainings that this command does not ask for"):
        Recording.begun(grid, tmp_path / "run.json")


def test_two_environments_are_not_mixed(tmp_path: Path) -> None:
    """The message names what differs; a recording without outcomes takes the new environment."""
    recording, file = whole(), tmp_path / "run.json"
    with pytest.raises(BenchmarkError, match=r"begun with torch 2\.0; here is torch 2\.1"):
        recording.refuse_other_environment(file, {"torch": "2.1"})
    empty = Recording(GRID, {"torch": "2.0"})
    empty.refuse_other_environment(file, {"torch": "2.1"})
    assert empty.environment == {"torch": "2.1"}


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """With the words of the operating system."""
    with pytest.raises(FileError, match="cannot be read: IsADirectoryError"):
        Recording.begun(GRID, tmp_path)


def test_the_summary_has_extremes_and_medians() -> None:
    """Of the seeds; a norm that is not finite counts as the largest."""
    recording = whole()
    for seed, (right, norm) in enumerate([(351, 4.0), (340, None)]):
        training = next(t for t in GRID.trainings() if t[1:] == ("none", 0.5, seed))
        recording.outcomes[training] = outcome(right, norm)
    lines = [line.split() for line in summary(recording).splitlines()]
    assert [line[-1] for line in lines if line[:1] == ["none"] and "D:" not in line] == [
        *["340-351"] * 2,
        "inf",
    ]
    assert [line[-2] for line in lines if line[-1:] == ["340-351"]] == ["346"] * 2
    assert [line[1:] for line in lines if line[:1] == ["through"]] == [["0.1", "0.5"]] * 3


def test_the_summary_says_what_the_names_keep_and_what_follows() -> None:
    """The median of all learning rates and seeds is that of the recording."""
    text = summary(recorded())
    assert "  mean only      D + M: the variance is held constant\n" in text
    right = [one["right"] for t, one in recorded().outcomes.items() if t[:2] == ("mlp", "mean")]
    [line] = [line for line in text.splitlines() if line.startswith("  mlp: ")]
    assert f", mean only {median(right):.0f}, " in line


def test_a_part_of_the_recording() -> None:
    """Networks and learning rates; one that was not recorded is refused."""
    part = recorded().only(("resnet",), (0.5, 0.1))
    assert list(part.outcomes) == part.grid.trainings()
    assert {(t.network, t.rate) for t in part.outcomes} == {("resnet", 0.1), ("resnet", 0.5)}
    with pytest.raises(BenchmarkError, match=r"does not have the learning rate 0\.3"):
        recorded().only(("mlp",), (0.3,))


def test_the_colors_are_those_of_the_page() -> None:
    """In light; "both" has the color of the text."""
    style = (files("backnorm.lab.page") / "style.css").read_text()
    of_page = dict(re.findall(r"--(\w+): (#\w+);", style.partition("}")[0]))
    assert {
        through: of_page[name]
        for through, name in [
            ("both", "text"),
            *((name, name) for name in ("mean", "variance", "none")),
        ]
    } == COLORS


def test_the_recorded_summary_fits_a_terminal() -> None:
    """80 columns."""
    assert max(map(len, summary(recorded()).splitlines())) <= 80


def test_a_figure_is_drawn(tmp_path: Path) -> None:
    """Also with a norm that is not finite, which leaves a gap."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed; make test has it")
    recording = whole()
    recording.outcomes[GRID.trainings()[0]] = outcome(3, None)
    draw(recording, tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text()
    assert all(color in text for color in COLORS.values())


def test_a_grid_begins_with_whole_seeds() -> None:
    """An interrupted run leaves seeds that can be compared."""
    seeds = [training.seed for training in GRID.trainings()]
    assert seeds == sorted(seeds)
    assert len(set(GRID.trainings())) == 1 * 2 * 2 * 4
