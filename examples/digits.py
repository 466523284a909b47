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
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from backnorm.torch import conversion_report, convert

BATCH = 64
RATE = 0.1
"""Learning rate of the first step; it falls to 0 along a cosine."""


class Block(nn.Module):
    """Two normalized convolutions; the input is added before the last activation."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(c_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            projection = nn.Conv2d(c_in, c_out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated sum: (N, C, H, W) in and, except for the stride, out."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet() -> nn.Sequential:
    """Return a network for images (N, 1, 8, 8): nine normalized convolutions, a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Block(16, 16, 1),
        Block(16, 32, 2),
        Block(32, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


@dataclass(frozen=True)
class Images:
    """Pixels from 0 to 1, (N, 1, 8, 8), and the digit of each image, (N,)."""

    x: Tensor
    digit: Tensor


def images() -> tuple[Images, Images]:
    """Return 1437 images to train with and 360 to test with, the same every time."""
    pixels, digits = load_digits(return_X_y=True)
    x = torch.as_tensor(pixels / 16, dtype=torch.get_default_dtype()).reshape(-1, 1, 8, 8)
    digit = torch.as_tensor(digits)
    test = torch.arange(len(x)) % 5 == 0
    return Images(x[~test], digit[~test]), Images(x[test], digit[test])


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

    def epoch(self, train: Images) -> None:
        """Train with each image once, and record the seconds and the loss of each step."""
        self.network.train()
        begin = time.perf_counter()
        for batch in torch.randperm(len(train.x), generator=self.order).split(BATCH):
            loss = functional.cross_entropy(self.network(train.x[batch]), train.digit[batch])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())
        self.rate.step()
        self.seconds.append(time.perf_counter() - begin)

    @torch.no_grad()
    def recognized(self, test: Images) -> int:
        """Return the number of images that the network recognizes."""
        self.network.eval()
        return int((self.network(test.x).argmax(1) == test.digit).sum())


def trained(epochs: int, seed: int) -> dict[str, Trainee]:
    """Train both epoch by epoch in turn, so that the machine's load is the same for both."""
    train, _ = images()
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
    _, test = images()
    table = Table(
        "network", "test images recognized", "accuracy", "last loss", "s per epoch", box=None
    )
    for name, trainee in trained(epochs, seed).items():
        right = trainee.recognized(test)
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
