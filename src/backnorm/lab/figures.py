"""A recording as a figure: panels below each other, so that a phone shows them in full width."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.errors import NotInstalledError
from backnorm.lab.grid import NAMES, TEST_IMAGES

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from backnorm._types import Float64Array
    from backnorm.lab.recording import Recording

__all__ = ["COLORS", "draw", "require_matplotlib"]

COLORS: Final = {"both": "#1e2126", "mean": "#a8460a", "variance": "#6b3cc0", "none": "#5a606a"}
"""Those of the page; a dashed line tells "none" from "both" without its color."""

DASHED: Final = "none"

SERIES: Final = {
    "loss": "training loss",
    "weight_norm": "norm of the first weights",
    "gradient_norm": "norm of their gradient",
}


def require_matplotlib() -> None:
    """Raise NotInstalledError if a figure cannot be drawn."""
    if find_spec("matplotlib") is None:
        raise NotInstalledError.package("matplotlib", "lab", "A picture")


def draw(recording: Recording, path: Path, rate: float = 0.2) -> None:
    """Write a figure: images recognized by learning rate, and curves at one learning rate.

    Parameters
    ----------
    recording
        All trainings of its grid.
    path
        The file; its ending names the format, such as .png or .svg.
    rate
        The learning rate of the curves; the nearest of the grid counts.

    Raises
    ------
    NotInstalledError
        If matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure  # noqa: PLC0415 - only for a picture

    networks = recording.grid.networks
    nearest = min(recording.grid.rates, key=lambda other: abs(np.log(other / rate)))
    count = len(networks) * (1 + len(SERIES))
    figure = Figure(figsize=(4.8, 2.1 * count), layout="constrained")
    panels = figure.subplots(count, squeeze=False)[:, 0].reshape(len(networks), -1)
    for (first, *others), network in zip(panels, networks, strict=True):
        _recognized(first, recording, network)
        for axes, series in zip(others, SERIES, strict=True):
            _curves(axes, recording, (network, series, nearest))
            axes.set_title(network)
    lines, names = panels[0][0].get_legend_handles_labels()
    figure.legend(lines, names, title="gradient through", loc="outside upper center", ncols=2)
    figure.savefig(path, dpi=120)


def _recognized(axes: Axes, recording: Recording, network: str) -> None:
    """Draw the median of the seeds as a line, and each seed as a dot."""
    rates = recording.grid.rates
    for through in recording.grid.through:
        right = np.array(
            [
                [outcome["right"] for outcome in recording.of_seeds(network, through, rate)]
                for rate in rates
            ]
        )
        color = COLORS[through]
        axes.plot(
            rates,
            np.median(right, axis=1),
            color=COLORS[through],
            linestyle=_style(through),
            label=NAMES[through],
        )
        axes.plot(rates, right, ".", color=color, alpha=0.5)
    axes.set(xscale="log", title=network, xlabel="learning rate")
    axes.set(ylabel=f"recognized of {TEST_IMAGES}", ylim=(0, TEST_IMAGES + 5))
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates], minor=False)
    axes.set_xticks([], minor=True)
    axes.grid(visible=True, alpha=0.3)


def _curves(axes: Axes, recording: Recording, what: tuple[str, str, float]) -> None:
    """Draw the median of the seeds as a line, and all between the extremes as a band."""
    network, series, rate = what
    epochs = np.arange(1, recording.grid.epochs + 1)
    for through in recording.grid.through:
        values: Float64Array = np.array(
            [outcome[series] for outcome in recording.of_seeds(network, through, rate)], np.float64
        )
        color = COLORS[through]
        axes.plot(
            epochs, np.median(values, axis=0), color=COLORS[through], linestyle=_style(through)
        )
        axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15)
    axes.set(yscale="log", xlabel=f"epoch (learning rate {rate:g})", ylabel=SERIES[series])
    axes.grid(visible=True, alpha=0.3)


def _style(through: str) -> str:
    return "--" if through == DASHED else "-"
