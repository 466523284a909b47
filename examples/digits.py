"""Train a small ResNet on handwritten digits, with PyTorch's layers and with the engine.

    make .venv/.with-torch .venv/.with-examples
    .venv/bin/python examples/digits.py

Two networks start with the same weights and see the same images in the same order. For one of them
`backnorm.torch.convert` replaces the normalization by the engine; this line is the only difference.

The images are scikit-learn's: 1797 digits of 8x8 pixels. Every fifth image is kept for the test.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

import click
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from backnorm.torch import conversion_report, convert
from backnorm.torch.lab.images import Digits, digits
from backnorm.torch.lab.networks import resnet
from backnorm.torch.lab.training import recognized, steps

RATE = 0.1
"""Learning rate of the first step; it falls to 0 along a cosine."""


@dataclass
class Trainee:
    """A network in training: its optimizer, its random order, its losses and times."""

    network: nn.Module
    epochs: int
    seed: int
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        weights = self.network.parameters()
        self.optimizer = torch.optim.SGD(weights, lr=RATE, momentum=0.9, weight_decay=5e-4)
        self.rate = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, self.epochs)
        self.order = torch.Generator().manual_seed(self.seed)

    def epoch(self, train: Digits) -> None:
        """Train with each image once, and record the seconds and the loss of each step."""
        begin = time.perf_counter()
        self.losses += steps(self.network, self.optimizer, train, self.order)
        self.rate.step()
        self.seconds.append(time.perf_counter() - begin)


def trained(epochs: int, seed: int) -> dict[str, Trainee]:
    """Train both epoch by epoch in turn, so that the machine's load is the same for both."""
    train, _ = digits()
    trainees = {}
    for name in ("stock", "converted"):
        torch.manual_seed(seed)
        network = resnet()
        if name == "converted":
            click.echo(f"{conversion_report(convert(network))}\n")
        trainees[name] = Trainee(network, epochs, seed)
    for _ in range(epochs):
        for trainee in trainees.values():
            trainee.epoch(train)
    return trainees


@click.command()
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Seed of the weights and the order.")
@click.option("--threads", type=click.IntRange(1), help="[default: as PyTorch has it]")
def main(epochs: int, seed: int, threads: int | None) -> None:
    """Train both networks and print their accuracy and time."""
    if threads:
        torch.set_num_threads(threads)
    _, test = digits()
    table = Table(
        "network", "test images recognized", "accuracy", "last loss", "s per epoch", box=None
    )
    for name, trainee in trained(epochs, seed).items():
        right = recognized(trainee.network.eval(), test)
        table.add_row(
            name,
            f"{right} of {len(test.x)}",
            f"{right / len(test.x):.1%}",
            f"{trainee.losses[-1]:.4f}",
            f"{statistics.median(trainee.seconds):.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
