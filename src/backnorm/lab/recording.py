"""What was trained, and what was measured: a file that grows with each training."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from backnorm import __version__
from backnorm.convert.files._whole import write_whole
from backnorm.errors import BenchmarkError, FileError
from backnorm.kernels import describe
from backnorm.lab.grid import TEST_IMAGES, Grid, Training
from backnorm.report.environment import environment, processor

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

__all__ = [
    "Recording",
    "TrainingOutcome",
    "environment_of_training",
    "recorded",
    "rounded",
]

SCHEMA: Final = 1
PRECISION: Final = 4
"""Significant digits in the file: more would not be seen in a figure, and 200 trainings count."""

TrainingOutcome: TypeAlias = dict[str, Any]
"""The fields of `backnorm.torch.lab.training.Curves`, rounded; None for a number not finite."""


@dataclass
class Recording:
    """A grid and the outcomes of its trainings, as far as they are there.

    Attributes
    ----------
    grid
        What is trained.
    environment
        Versions, kernel and processor.
    outcomes
        What was measured in each training.
    """

    grid: Grid
    environment: dict[str, str]
    outcomes: dict[Training, TrainingOutcome] = field(default_factory=dict)

    @classmethod
    def begun(cls, grid: Grid, path: Path) -> Self:
        """Return the recording in a file, to be completed to a grid; without the file a new one."""
        if not path.exists():
            return cls(grid, environment_of_training())
        try:
            old = cls.from_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise FileError.unreadable(path.name, error) from error
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BenchmarkError.no_recording(str(path)) from None
        wanted = set(grid.trainings())
        others = [training for training in old.outcomes if training not in wanted]
        if others or old.grid.epochs != grid.epochs:
            raise BenchmarkError.other_recording(str(path), old.grid.command())
        return cls(grid, old.environment, old.outcomes)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the recording that `to_json` wrote."""
        values = json.loads(text)
        grid = Grid(
            tuple(values["networks"]),
            tuple(values["rates"]),
            tuple(values["seeds"]),
            int(values["epochs"]),
            tuple(values["through"]),
        )
        outcomes = {}
        for run in values["runs"]:
            training = Training(*(run.pop(name) for name in Training._fields))
            outcomes[training] = run
        return cls(grid, dict(values["environment"]), outcomes)

    def to_json(self) -> str:
        """Return the file: one line for each training, in the order of the grid."""
        head = {
            "schema": SCHEMA,
            "command": self.grid.command(),
            "environment": self.environment,
            "of": TEST_IMAGES,
            "networks": self.grid.networks,
            "through": self.grid.through,
            "rates": self.grid.rates,
            "seeds": self.grid.seeds,
            "epochs": self.grid.epochs,
        }
        runs = [
            _compact(training._asdict() | self.outcomes[training])
            for training in self.grid.trainings()
            if training in self.outcomes
        ]
        lines = [f"{_compact(name)}:{_compact(value)}" for name, value in head.items()]
        return "{" + ",\n".join([*lines, '"runs":[\n' + ",\n".join(runs)]) + "\n]}\n"

    def only(self, networks: tuple[str, ...], rates: tuple[float, ...]) -> Recording:
        """Return the part with some networks and learning rates."""
        missing = [rate for rate in rates if rate not in self.grid.rates]
        if missing:
            raise BenchmarkError.rate_not_recorded(missing[0], self.grid.rates)
        grid = replace(self.grid, networks=networks, rates=rates)
        outcomes = {training: self.outcomes[training] for training in grid.trainings()}
        return Recording(grid, self.environment, outcomes)

    def of_seeds(self, network: str, through: str, rate: float) -> list[TrainingOutcome]:
        """Return the outcomes of all seeds."""
        return [
            self.outcomes[training]
            for training in self.grid.trainings()
            if training[:3] == (network, through, rate)
        ]

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_whole(path, self.to_json().encode())

    def refuse_other_environment(self, path: Path, now: dict[str, str]) -> None:
        """Raise if outcomes are there that come from another environment."""
        names = [name for name in now if now[name] != self.environment.get(name)]
        if names and self.outcomes:
            old, new = ({name: of.get(name) for name in names} for of in (self.environment, now))
            raise BenchmarkError.other_environment(str(path), old, new)
        self.environment = now


def recorded() -> Recording:
    """Return the recording that belongs to the package."""
    file = resources.files("backnorm.lab") / "experiment.json"
    return Recording.from_json(file.read_text(encoding="utf-8"))


def environment_of_training() -> dict[str, str]:
    """Return what the outcome of a training depends on beside the grid."""
    kernel = describe()
    return {
        "backnorm": __version__,
        **environment(),
        **{name: kernel[name] for name in ("kernel", "instruction set")},
        "processor": processor(),
    }


def rounded(value: Any) -> Any:
    """Return a number, or a list of them, with fractions as the file has them."""
    if isinstance(value, list):
        return [rounded(number) for number in value]
    if isinstance(value, float):
        return float(f"{value:.{PRECISION}g}") if math.isfinite(value) else None
    return value


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
