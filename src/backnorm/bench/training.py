"""Training steps of a network: with PyTorch's layers, with backnorm's, without normalization."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import backnorm.torch.bench.training as parts
from backnorm.kernels.threads import get_num_threads
from backnorm.report.environment import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["TRAINED", "Setup", "loss_difference", "result", "run", "total"]

TRAINED: Final = ("stock", "converted", "fused", "none")
OURS: Final = ("converted", "fused")
NUDGED: Final = "stock, nudged"
"""Trained for its losses only: they show how far rounding alone takes two runs apart."""
HELD: Final = (*TRAINED, "stock, kept")
# Steps before the timed ones: memory is touched for the first time, and PyTorch chooses kernels.
WARM_UP: Final = 2
# Most steps under the profiler; the median counts.
PROFILED: Final = 7
SEED: Final = 5


@dataclass(frozen=True)
class Setup:
    """What to train.

    Attributes
    ----------
    model
        A name in `backnorm.torch.bench.models.MODELS`.
    layout
        "nchw" or "nhwc".
    batch, size
        Images of a step, and pixels of a side.
    steps
        Timed steps of each network.
    inplace
        Whether to normalize in place, with leaky_relu as the activation, since it has an inverse.
    """

    model: str
    layout: str
    batch: int
    size: int
    steps: int
    inplace: bool


def total(setup: Setup) -> int:
    """Return how often `run` will call `advance`."""
    return WARM_UP + setup.steps + min(PROFILED, setup.steps) + len(HELD)


def run(setup: Setup, advance: Callable[[], None]) -> dict[str, Any]:
    """Train the networks, a step of each in turn on the same images.

    Parameters
    ----------
    setup
        What to train.
    advance
        Called after each part of the work.

    Returns
    -------
    dict
        The setup, and the seconds, bytes and losses of each network, ready for JSON.
    """
    networks = {name: _trainee(name, setup) for name in TRAINED}
    nudged = _trainee(NUDGED, setup)
    data = parts.Images(setup.batch, setup.size, setup.layout, SEED)
    losses: dict[str, list[float]] = {name: [] for name in (*networks, NUDGED)}
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(WARM_UP + setup.steps):
        batch = data.draw()
        for name, network in networks.items():
            loss, time = network.step(*batch)
            losses[name].append(loss)
            seconds[name].append(time)
        losses[NUDGED].append(nudged.step(*batch)[0])
        advance()
    del nudged
    inside: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(min(PROFILED, setup.steps)):
        batch = data.draw()
        for name, network in networks.items():
            inside[name].append(network.normalization(*batch))
        advance()
    held: dict[str, float] = {}
    for name in HELD:
        network = networks[name] if name in networks else _trainee(name, setup)
        held[name] = network.held_bytes(*data.draw())
        advance()
    measured: dict[str, dict[str, float]] = {
        "step": {name: median(times[WARM_UP:]) for name, times in seconds.items()},
        "normalization": {name: median(times) for name, times in inside.items()},
        "held_bytes": held,
    }
    return {
        **asdict(setup),
        "activation": networks["stock"].activation,
        "threads": get_num_threads(),
        **measured,
        "to_stock": {name: _to_stock(values) for name, values in measured.items()},
        "losses": {name: losses[name] for name in ("stock", *OURS, NUDGED)},
        "loss_difference": {
            name: loss_difference(losses["stock"], losses[name]) for name in (*OURS, NUDGED)
        },
    }


def _trainee(name: str, setup: Setup) -> parts.Trainee:
    return parts.trainee(name, setup.model, setup.layout, inplace=setup.inplace, seed=SEED)


def _to_stock(values: dict[str, float]) -> dict[str, float]:
    return {name: value / values["stock"] for name, value in values.items()}


def loss_difference(stock: Iterable[float], ours: Iterable[float]) -> float:
    """Return the largest relative difference of two runs' losses."""
    return max(abs(b - a) / abs(a) for a, b in zip(stock, ours, strict=True))


def result(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the results of `run` for each setup, ready for JSON."""
    return {"schema": 1, "environment": environment(), "training": rows}
