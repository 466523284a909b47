"""What the experiment trains."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from backnorm._check import THROUGHS

if TYPE_CHECKING:
    from backnorm._types import Through

__all__ = ["NAMES", "NETWORKS", "TEST_IMAGES", "Grid", "Training"]

NETWORKS: Final = ("mlp", "resnet")
TEST_IMAGES: Final = 360

NAMES: Final = {
    "both": "both",
    "mean": "mean only",
    "variance": "variance only",
    "none": "none",
}
"""How tables and figures call the statistics that the gradient goes through."""


class Training(NamedTuple):
    """One training; the fields are the arguments of `backnorm.torch.lab.training.train`."""

    network: str
    through: Through
    rate: float
    seed: int


@dataclass(frozen=True)
class Grid:
    """What to train: every combination.

    Attributes
    ----------
    networks
        Names in `NETWORKS`.
    rates
        Learning rates.
    seeds
        Seeds of the weights and of the order of the images.
    epochs
        How often each training uses each image.
    through
        Which statistics the gradient goes through.
    """

    networks: tuple[str, ...] = NETWORKS
    rates: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5, 1.0)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    epochs: int = 15
    through: tuple[str, ...] = THROUGHS

    def trainings(self) -> list[Training]:
        """Return every combination, first all of one seed, so that each seed is a whole picture."""
        axes = (self.seeds, self.networks, self.rates, self.through)
        return [
            Training(network, through, rate, seed)  # type: ignore[arg-type] # one of THROUGHS
            for seed, network, rate, through in itertools.product(*axes)
        ]

    def command(self) -> str:
        """Return the command that trains this grid."""
        usual = Grid()
        words = ["backnorm lab experiment"]
        if self.networks != usual.networks:
            words += [f"--network {network}" for network in self.networks]
        if self.rates != usual.rates:
            words += [f"--rate {rate:g}" for rate in self.rates]
        if self.seeds != usual.seeds:
            words.append(f"--seeds {len(self.seeds)}")
        if self.epochs != usual.epochs:
            words.append(f"--epochs {self.epochs}")
        return " ".join(words)
