"""Training steps of a network: their time, the share of normalization, the bytes for backward."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile, record_function

from backnorm.torch.bench.models import ACTIVATION, build
from backnorm.torch.conversion import convert

if TYPE_CHECKING:
    from torch import nn

    from backnorm._types import Activation

__all__ = ["Images", "Trainee", "trainee"]

CLASSES: Final = 1000
LEARNING_RATE: Final = 1e-3
"""Small, since runs are compared step by step: large steps make two runs diverge by rounding."""

_FORWARD: Final = "backnorm bench: forward"

COUNTED: Final = frozenset({
    "aten::native_batch_norm",
    "aten::native_batch_norm_backward",
    "aten::relu",
    "aten::relu_",
    "aten::threshold_backward",
    "aten::relu6",
    "aten::relu6_",
    "aten::hardtanh",
    "aten::hardtanh_",
    "aten::hardtanh_backward",
    "aten::leaky_relu",
    "aten::leaky_relu_",
    "aten::leaky_relu_backward",
    "_OutOfPlace",
    "_OutOfPlaceBackward",
    "_InPlace",
    "_InPlaceBackward",
})  # fmt: skip
"""Events of the profiler that belong to normalization or its activation."""

_QUIET: Final = ("KINETO_LOG_LEVEL", "6")
"""The profiler's library writes two lines to stderr at each start and end; level 6 hides them."""

_ADDS: Final = frozenset({"aten::add", "aten::add_"})


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
        with record_function(_FORWARD):
            loss = self._loss(x, target)
        loss.backward()  # type: ignore[no-untyped-call] # of torch
        self.optimizer.step()
        return loss.item(), time.perf_counter() - begin

    def normalization(self, x: torch.Tensor, target: torch.Tensor) -> float:
        """Train one step under the profiler, and return the seconds in events that are `COUNTED`.

        Residual sums of the forward pass count as well, since they can be fused.
        """
        os.environ.setdefault(*_QUIET)
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as record:
            self.step(x, target)
        events = record.events() or []
        return 1e-6 * sum(float(e.cpu_time_total) for e in events if _outermost(e))

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


def _is_counted(event: Any) -> bool:
    if event.name in _ADDS:
        shapes = event.input_shapes
        return bool(shapes) and len(shapes[0]) > 1 and _FORWARD in _callers(event)
    return event.name in COUNTED


def _outermost(event: Any) -> bool:
    """Whether an event is counted and no event around it is, so that no time counts twice."""
    if not _is_counted(event):
        return False
    caller = event.cpu_parent
    while caller is not None:
        if _is_counted(caller):
            return False
        caller = caller.cpu_parent
    return True


def _callers(event: Any) -> list[str]:
    names = []
    while (event := event.cpu_parent) is not None:
        names.append(event.name)
    return names


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
        As in `backnorm.torch.bench.models.build`.
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
    activation: Activation = "leaky_relu" if inplace else ACTIVATION[model]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build(model, activation=activation, inplace=name != "stock, kept")
    if name == "converted":
        convert(network, inplace=inplace)
    elif name == "fused":
        network = _fused(network, model, activation, inplace=inplace)
    elif name == "stock, nudged":
        _nudge(next(network.parameters()))
    elif name == "none":
        network = _bare(network, model, activation)
    network.to(memory_format=_memory(layout))  # type: ignore[call-overload] # of torch
    rate = 0.0 if name == "none" else LEARNING_RATE
    return Trainee(network, torch.optim.SGD(network.parameters(), lr=rate), activation)


def _nudge(weights: torch.Tensor) -> None:
    with torch.no_grad():
        weights.copy_(torch.nextafter(weights, torch.full_like(weights, torch.inf)))


def _fused(
    stock: nn.Sequential, model: str, activation: Activation, *, inplace: bool
) -> nn.Sequential:
    network = build(model, "fused", activation=activation, inplace=inplace)
    network.load_state_dict(stock.state_dict())
    return network


def _bare(stock: nn.Sequential, model: str, activation: Activation) -> nn.Sequential:
    network = build(model, "none", activation=activation, inplace=True)
    weights = network.state_dict().keys()
    network.load_state_dict({k: v for k, v in stock.state_dict().items() if k in weights})
    return network
