"""Training steps of a network: with PyTorch's layers, with backnorm's, without normalization."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import backnorm.torch.bench.training as parts
from backnorm.kernels.threads import get_num_threads
from backnorm.report.environment import environment
from backnorm.torch.bench import published
from backnorm.torch.bench.events import PARTS
from backnorm.torch.bench.training import KEPT, forms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Setup", "forms", "loss_difference", "result", "run", "total"]

NUDGED: Final = "stock, nudged"
"""Trained for its losses only: they show how far rounding alone takes two runs apart."""
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
        A name in `backnorm.torch.bench.models.MODELS` or `published.MODELS`.
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
    return WARM_UP + setup.steps + min(PROFILED, setup.steps) + len(_held(setup))


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
    networks = {name: _trainee(name, setup) for name in forms(setup.model)}
    data = parts.Images(setup.batch, setup.size, setup.layout, SEED)
    step, losses = _steps(networks, setup, data, advance)
    measured = {"step": step, **_shares(networks, setup, data, advance)}
    measured["held_bytes"] = {}
    for name in _held(setup):
        network = networks[name] if name in networks else _trainee(name, setup)
        measured["held_bytes"][name] = network.held_bytes(*data.draw())
        advance()
    ours = [name for name in networks if name not in {"stock", "none"}]
    return {
        **asdict(setup),
        "activation": networks["stock"].activation,
        "threads": get_num_threads(),
        **measured,
        "to_stock": {name: _to_stock(values) for name, values in measured.items()},
        "losses": {name: losses[name] for name in ("stock", *ours, NUDGED)},
        "loss_difference": {
            name: loss_difference(losses["stock"], losses[name]) for name in (*ours, NUDGED)
        },
    }


def _steps(
    networks: dict[str, parts.Trainee],
    setup: Setup,
    data: parts.Images,
    advance: Callable[[], None],
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Return the median seconds of a step of each network, and the losses of its steps."""
    nudged = _trainee(NUDGED, setup)
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
    return {name: median(times[WARM_UP:]) for name, times in seconds.items()}, losses


def _shares(
    networks: dict[str, parts.Trainee],
    setup: Setup,
    data: parts.Images,
    advance: Callable[[], None],
) -> dict[str, dict[str, float]]:
    """Return where the time of a step goes under the profiler: each part, and the rest."""
    inside: dict[str, dict[str, list[float]]] = {
        part: {name: [] for name in networks} for part in (*PARTS, "rest")
    }
    for _ in range(min(PROFILED, setup.steps)):
        batch = data.draw()
        for name, network in networks.items():
            for part, seconds in network.parts(*batch).items():
                inside[part][name].append(seconds)
        advance()
    return {
        part: {name: median(times) for name, times in of.items()} for part, of in inside.items()
    }


def _held(setup: Setup) -> tuple[str, ...]:
    """Return the forms whose memory is measured: one more where activations can be chosen."""
    kept = () if setup.model in published.MODELS else (KEPT,)
    return (*forms(setup.model), *kept)


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
