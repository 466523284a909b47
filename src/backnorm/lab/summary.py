"""A recording as tables for the terminal."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Final

from backnorm.lab.grid import NAMES, TEST_IMAGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm.lab.recording import Recording, TrainingOutcome

__all__ = ["summary"]

WIDTH: Final = 13

LEGEND: Final = {
    "both": "D + M + V, the whole gradient",
    "mean": "D + M: the variance is held constant",
    "variance": "D + V: the mean is held constant",
    "none": "D: both are held constant",
}
"""Which terms a gradient keeps; Eq. (7) of docs/mathematics.md."""


def summary(recording: Recording) -> str:
    """Return three tables for each network: recognized images, twice, and norms of weights.

    What the names of the rows mean stands above, and what follows from the tables below.

    Parameters
    ----------
    recording
        All trainings of its grid.

    Returns
    -------
    str
        Lines of at most 80 columns, unless there are more than five learning rates.
    """
    grid = recording.grid
    parts = [f"Seeds: {len(grid.seeds)}. Epochs: {grid.epochs}. Columns: learning rates.\n"]
    kept = [f"  {NAMES[through]:<{WIDTH}}  {LEGEND[through]}" for through in grid.through]
    parts += ["\n".join(["Rows: the gradient goes through", *kept]) + "\n"]
    for network in grid.networks:
        images = f"{network}: of {TEST_IMAGES} test images recognized, median and range of seeds"
        by_batch = f"{network}: the same, normalized with the statistics of the test images"
        weights = f"{network}: norm of the first weights at the end, median of the seeds"
        parts += [_table(recording, network, images, partial(_images, "right"))]
        parts += [_table(recording, network, by_batch, partial(_images, "right_by_batch"))]
        parts += [_table(recording, network, weights, _weights)]
    conclusions = [_conclusion(recording, network) for network in grid.networks]
    title = f"In short: of {TEST_IMAGES} images, the median of all learning rates and seeds"
    return "\n".join([*parts, "\n".join([title, *conclusions]) + "\n"])


def _conclusion(recording: Recording, network: str) -> str:
    medians = []
    for through in recording.grid.through:
        outcomes = [
            outcome
            for rate in recording.grid.rates
            for outcome in recording.of_seeds(network, through, rate)
        ]
        right = median(outcome["right"] for outcome in outcomes)
        medians.append(f"{NAMES[through]} {right:.0f}")
    return f"  {network}: {', '.join(medians)}"


def _table(
    recording: Recording, network: str, title: str, cell: Callable[[list[TrainingOutcome]], str]
) -> str:
    lines = [title, _line("through", [f"{rate:g}" for rate in recording.grid.rates])]
    for through in recording.grid.through:
        cells = [cell(recording.of_seeds(network, through, rate)) for rate in recording.grid.rates]
        lines.append(_line(NAMES[through], cells))
    return "\n".join(lines) + "\n"


def _line(first: str, cells: list[str]) -> str:
    return f"  {first:<{WIDTH}}" + "".join(f"{cell:>{WIDTH}}" for cell in cells)


def _images(name: str, outcomes: list[TrainingOutcome]) -> str:
    right = sorted(outcome[name] for outcome in outcomes)
    extremes = f" {right[0]}-{right[-1]}" if right[0] < right[-1] else ""
    return f"{median(right):.0f}{extremes}"


def _weights(outcomes: list[TrainingOutcome]) -> str:
    """Return the median norm; a norm that is not finite is the largest."""
    norms = [outcome["weight_norm"][-1] for outcome in outcomes]
    return f"{median(float('inf') if norm is None else norm for norm in norms):.3g}"
