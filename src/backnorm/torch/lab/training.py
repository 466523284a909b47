"""Train a network on digits, with the whole gradient of its normalizations or parts of it."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from torch.nn import functional

from backnorm.torch.conversion import convert
from backnorm.torch.lab.images import digits
from backnorm.torch.lab.networks import NETWORKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm._types import Through
    from backnorm.torch.lab.images import Digits

__all__ = ["BATCH", "Curves", "compute_alone", "recognized", "steps", "train"]

BATCH: Final = 64
"""Images of a step."""

SERIES: Final = ("loss", "accuracy", "weight_norm", "gradient_norm")
"""Those fields of `Curves` that have a value for each epoch."""


@dataclass(frozen=True)
class Curves:
    """What was measured in a training, with a value for each epoch.

    Attributes
    ----------
    loss
        Mean loss of the steps.
    accuracy
        Share of the test images that the network recognizes in evaluation.
    weight_norm
        Euclidean norm of the weight before the first normalization.
    gradient_norm
        Euclidean norm of the gradient of that weight, the mean of the steps.
    right
        How many test images are recognized at the end.
    right_by_batch
        The same with the statistics of the test images in place of the running ones.
    """

    loss: list[float]
    accuracy: list[float]
    weight_norm: list[float]
    gradient_norm: list[float]
    right: int
    right_by_batch: int


def steps(
    network: nn.Module, optimizer: torch.optim.Optimizer, train: Digits, order: torch.Generator
) -> Iterator[float]:
    """Train with each image once, in a random order, and yield the loss after each step."""
    network.train()
    indices = torch.randperm(len(train.x), generator=order)
    for start in range(0, len(indices), BATCH):
        batch = indices[start : start + BATCH]
        loss = functional.cross_entropy(network(train.x[batch]), train.digit[batch])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield loss.item()


@torch.no_grad()
def recognized(network: nn.Module, test: Digits) -> int:
    """Return the number of images that the network recognizes in its mode."""
    return int((network(test.x).argmax(1) == test.digit).sum())


def train(network: str, through: Through, rate: float, seed: int, epochs: int) -> Curves:
    """Train a network by plain gradient descent.

    Parameters
    ----------
    network
        A name in `NETWORKS`.
    through
        Which statistics the gradient of each normalization goes through.
    rate
        The learning rate of every step. Momentum and weight decay would act on the weights too,
        so both are left out.
    seed
        Of the first weights and of the order of the images.
    epochs
        How often each image is used.

    Returns
    -------
    Curves
        Losses, accuracy and norms.
    """
    images, test = digits()
    torch.manual_seed(seed)
    model = convert(NETWORKS[network](), through=through)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    order = torch.Generator().manual_seed(seed)
    first = next(model.parameters())
    curves: dict[str, list[float]] = {name: [] for name in SERIES}
    for _ in range(epochs):
        losses, gradients = [], []
        for loss in steps(model, optimizer, images, order):
            losses.append(loss)
            gradients.append(_norm(first.grad))
        curves["loss"].append(fmean(losses))
        curves["gradient_norm"].append(fmean(gradients))
        curves["weight_norm"].append(_norm(first))
        curves["accuracy"].append(recognized(model.eval(), test) / len(test.x))
    right = recognized(model.eval(), test)
    return Curves(right=right, right_by_batch=recognized(model.train(), test), **curves)


def compute_alone() -> None:
    """Let a process compute with one thread, and leave Ctrl-C to the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def _norm(tensor: Any) -> float:
    return float(tensor.detach().norm())
