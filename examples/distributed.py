"""Train on handwritten digits with 1, 2 and 4 processes: the same weights, bit by bit.

    make .venv/.with-torch .venv/.with-examples
    .venv/bin/python examples/distributed.py                                 # 1, 2 and 4 processes
    .venv/bin/torchrun --nproc-per-node 3 examples/distributed.py            # another number

Each rank has every third (second, fourth ...) image of a batch. The normalization is a
`SyncBatchNorm`, whose results do not depend on the ranks. Of the other layers this has to be
arranged: `Each` calls a layer with one image at a time, and adds up the gradients of its weight as
integers, since a sum of integers has no order. At the end the hash of all weights and running
statistics is printed: the same for any number of processes on one machine.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, distributed, nn
from torch.nn import functional

from backnorm.torch import SyncBatchNorm
from backnorm.torch.lab.images import Digits, digits
from backnorm.torch.lab.training import compute_alone

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH = 64
"""Images of a step, on all ranks together."""

RATE = 0.05

UNIT = 2.0**-40
"""The gradient by each image is rounded to a multiple of this before the sum."""


def total(values: Tensor) -> Tensor:
    """Return the sum over all ranks of values that are rounded to multiples of `UNIT`."""
    integers = (values.double() / UNIT).round().long().sum(0)
    distributed.all_reduce(integers)
    return integers.double() * UNIT


class OneByOne(torch.autograd.Function):
    """A layer called with one image at a time, so that no shape depends on the ranks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, layer: nn.Module) -> Tensor:
        """Return y."""
        ctx.save_for_backward(x, weight)
        ctx.layer = layer
        return torch.cat([layer(image) for image in x.split(1)])

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return dx of the rank's images, and the gradient of the weight by those of all ranks."""
        x, weight = ctx.saved_tensors
        pairs = []
        for image, upstream in zip(x.split(1), dy.split(1), strict=True):
            with torch.enable_grad():
                leaf = image.detach().requires_grad_()
                y = ctx.layer(leaf)
            pairs.append(torch.autograd.grad(y, [leaf, weight], upstream))
        dx, dweight = zip(*pairs, strict=True)
        return torch.cat(dx), total(torch.stack(dweight)).to(weight.dtype), None


class Each(nn.Module):
    """A convolution or a linear layer without a bias, for one image at a time."""

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return y of each image."""
        y: Tensor = OneByOne.apply(x, self.layer.weight, self.layer)
        return y


def network() -> nn.Sequential:
    """Return three normalized convolutions and a linear layer, for images (N, 1, 8, 8)."""
    layers: list[nn.Module] = []
    for c_in, c_out, stride in ((1, 16, 1), (16, 32, 2), (32, 64, 2)):
        layers += [
            Each(nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)),
            SyncBatchNorm(c_out, activation="relu", reduce_parameters=True),
        ]
    return nn.Sequential(*layers, nn.Flatten(), Each(nn.Linear(64 * 4, 10, bias=False)))


@dataclass
class Curves:
    """What was measured after each epoch, and the hash of the trained network.

    Attributes
    ----------
    losses
        Mean loss of the images.
    right
        How many test images are recognized.
    sha256
        Of all weights and running statistics.
    """

    losses: list[float] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    sha256: str = ""


def trained(epochs: int, seed: int) -> Curves:
    """Train on this rank's part of each batch."""
    torch.manual_seed(seed)
    model, order = network(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    train, test = digits()
    curves = Curves()
    for _ in range(epochs):
        model.train()
        batches = torch.randperm(len(train.x), generator=order).split(BATCH)
        loss = sum(step(model, optimizer, train, batch) for batch in batches)
        curves.losses.append(loss / len(train.x))
        with torch.no_grad():
            curves.right.append(int((model.eval()(test.x).argmax(1) == test.digit).sum()))
    for value in model.state_dict().values():
        curves.sha256 = hashlib.sha256(curves.sha256.encode() + value.numpy().tobytes()).hexdigest()
    return curves


def step(model: nn.Module, optimizer: torch.optim.Optimizer, train: Digits, batch: Tensor) -> float:
    """Train with a batch, of which this rank has a part; return the sum of the losses of all."""
    own = batch[distributed.get_rank() :: distributed.get_world_size()]
    scores = model(train.x[own]).split(1)
    each = [
        functional.cross_entropy(score, digit)
        for score, digit in zip(scores, train.digit[own].split(1), strict=True)
    ]
    losses = torch.stack(each)
    optimizer.zero_grad()
    (losses / len(batch)).sum().backward()
    optimizer.step()
    return float(total(losses.detach()))


def as_rank(epochs: int, seed: int) -> None:
    """Train as one of the processes of torchrun; rank 0 prints its curves."""
    compute_alone()
    distributed.init_process_group("gloo")
    curves = trained(epochs, seed)
    if distributed.get_rank() == 0:
        for epoch, (loss, right) in enumerate(zip(curves.losses, curves.right, strict=True), 1):
            click.echo(f"epoch {epoch}: loss {loss:.12f}, {right} of 360 test images recognized")
        click.echo(f"sha256 {curves.sha256}")
    distributed.destroy_process_group()


def launch(processes: int, arguments: Sequence[str]) -> str:
    """Start torchrun, and return what it has printed."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), __file__, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=environment
    ).stdout


@click.command()
@click.option(
    "--processes", multiple=True, type=click.IntRange(1), default=(1, 2, 4), show_default=True
)
@click.option("--epochs", type=click.IntRange(1), default=3, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Seed of the weights and the order.")
def main(processes: tuple[int, ...], epochs: int, seed: int) -> None:
    """Train with each number of processes, and print the curves and the hash of the weights."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        as_rank(epochs, seed)
        return
    table = Table(
        "processes", "loss of each epoch", "recognized", "sha256 of the weights", box=None
    )
    for number in processes:
        said = launch(number, ["--epochs", str(epochs), "--seed", str(seed)])
        losses = re.findall(r"loss (\S+),", said)
        hashes = re.findall(r"sha256 (\w+)", said)
        recognized = re.findall(r"(\d+ of \d+)", said)
        shown = " ".join(f"{float(loss):.4f}" for loss in losses)
        table.add_row(str(number), shown, recognized[-1], hashes[0][:16])
    Console().print(table)


if __name__ == "__main__":
    main()
