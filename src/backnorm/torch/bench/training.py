"""Training steps of a network: their time, the share of normalization, the bytes for backward."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile, record_function

from backnorm.torch.bench import events, published
from backnorm.torch.bench.models import ACTIVATION, build
from backnorm.torch.conversion import convert

if TYPE_CHECKING:
    from torch import nn

    from backnorm._types import Activation

__all__ = ["KEPT", "Images", "Trainee", "forms", "trainee"]

KEPT: Final = "stock, kept"
CLASSES: Final = 1000
LEARNING_RATE: Final = 1e-3
"""Small, since runs are compared step by step: large steps make two runs diverge by rounding."""

_QUIET: Final = ("KINETO_LOG_LEVEL", "6")
"""The profiler's library writes two lines to stderr at each start and end; level 6 hides them."""


@dataclass(frozen=True)
class Trainee:
    """A network with its optimizer.

    Attributes
    ----------
    network
        Returns the scores of the classes, (N, 1000).
    optimizer
        Gradient descent without momentum.
    activation
        Name of the activation after normalizations.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    activation: str

    def step(self, x: torch.Tensor, target: torch.Tensor) -> tuple[float, float]:
        """Train one step, and return its loss and seconds."""
        begin = time.perf_counter()
        self.optimizer.zero_grad()
        with record_function(events.FORWARD):
            loss = self._loss(x, target)
        loss.backward()  # type: ignore[no-untyped-call] # of torch
        self.optimizer.step()
        return loss.item(), time.perf_counter() - begin

    def parts(self, x: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
        """Train one step under the profiler; return the seconds of `events.PARTS` and the rest."""
        os.environ.setdefault(*_QUIET)
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as record:
            _, step = self.step(x, target)
        parts = events.seconds(record.events() or [])
        return {**parts, "rest": step - sum(parts.values())}

    def held_bytes(self, x: torch.Tensor, target: torch.Tensor) -> int:
        """Return the bytes that a forward pass saves for backward, without the parameters.

        Each storage counts once, however many saved tensors use it. The input x counts.
        """
        parameters = {p.untyped_storage().data_ptr() for p in self.network.parameters()}
        held: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in parameters:
                held[storage.data_ptr()] = storage.nbytes()
            return tensor

        # The graph lives until `held` is complete, so that no address is used a second time.
        with saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = self._loss(x, target)
        total = sum(held.values())
        del loss
        return total

    def _loss(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.network(x), target)


class Images:
    """Random images and classes, the same for the same seed.

    Parameters
    ----------
    n, size
        Images of a batch, and pixels of a side.
    layout
        "nchw" or "nhwc".
    seed
        Seed of the random numbers.
    """

    def __init__(self, n: int, size: int, layout: str, seed: int) -> None:
        self._shape = (n, 3, size, size)
        self._memory = _memory(layout)
        self._generator = torch.Generator().manual_seed(seed)

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the next images, (n, 3, size, size), float32, and their classes, (n,)."""
        x = torch.randn(self._shape, generator=self._generator)
        target = torch.randint(CLASSES, self._shape[:1], generator=self._generator)
        return x.contiguous(memory_format=self._memory), target


def _memory(layout: str) -> torch.memory_format:
    return torch.channels_last if layout == "nhwc" else torch.contiguous_format


def forms(model: str) -> tuple[str, ...]:
    """Return the forms of a network that are trained side by side: names for `trainee`."""
    others = () if model in published.MODELS else ("fused",)
    return ("stock", "converted", *others, "none")


def trainee(name: str, model: str, layout: str, *, inplace: bool, seed: int) -> Trainee:
    """Return a network to train, with the same weights for each name.

    Parameters
    ----------
    name
        "stock": layers of torch.nn, with activations that overwrite their input. "stock, kept":
        with activations that keep their input. "stock, nudged": stock, with the weights of the
        first layer changed by one rounding each. "converted": stock, after
        `backnorm.torch.convert`. "fused": built from backnorm's layers, each with its activation
        and residual. "none": no normalization.
    model
        As in `backnorm.torch.bench.models.build`, or a name in `published.MODELS`, which has
        neither the form "fused" nor another activation than its own.
    layout
        Memory layout of the weights, "nchw" or "nhwc".
    inplace
        Whether backnorm's layers overwrite their input where they can. All networks then have the
        activation leaky_relu, which has an inverse.
    seed
        Seed of the weights.

    Returns
    -------
    Trainee
        In training mode.

    Notes
    -----
    Without normalization activations grow from block to block, and training soon overflows. So the
    network without normalization keeps its weights: its learning rate is 0.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if model in published.MODELS:
            network, activation = published.build(model), published.ACTIVATION[model]
            others = {"none": published.without_normalization}
        else:
            given: Activation = "leaky_relu" if inplace else ACTIVATION[model]
            network, activation = build(model, activation=given, inplace=name != KEPT), given
            fused = partial(_fused, model=model, activation=given, inplace=inplace)
            others = {"fused": fused, "none": partial(_bare, model=model, activation=given)}
    if name == "converted":
        convert(network, inplace=inplace)
    elif name == "stock, nudged":
        _nudge(next(network.parameters()))
    elif name in others:
        network = others[name](network)
    network.to(memory_format=_memory(layout))  # type: ignore[call-overload] # of torch
    rate = 0.0 if name == "none" else LEARNING_RATE
    return Trainee(network, torch.optim.SGD(network.parameters(), lr=rate), activation)


def _nudge(weights: torch.Tensor) -> None:
    with torch.no_grad():
        weights.copy_(torch.nextafter(weights, torch.full_like(weights, torch.inf)))


def _fused(stock: nn.Module, model: str, activation: Activation, *, inplace: bool) -> nn.Sequential:
    network = build(model, "fused", activation=activation, inplace=inplace)
    network.load_state_dict(stock.state_dict())
    return network


def _bare(stock: nn.Module, model: str, activation: Activation) -> nn.Sequential:
    network = build(model, "none", activation=activation, inplace=True)
    weights = network.state_dict().keys()
    network.load_state_dict({k: v for k, v in stock.state_dict().items() if k in weights})
    return network
