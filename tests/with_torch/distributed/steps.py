"""Steps of training on a group of some ranks, and on one process: what test_bits.py compares."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from backnorm import kernels
from backnorm.kernels import native_kernel
from backnorm.torch import SyncBatchNorm, batch_norm

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SETTINGS", "Setting", "alone", "merged", "on_ranks", "part", "use_numpy"]

STEPS, SAMPLES, CHANNELS, PLACES = 20, 11, 3, (3, 4)
RATE = 0.01
FORMATS = (torch.contiguous_format, torch.channels_last)


class Setting(NamedTuple):
    """What is trained on.

    Attributes
    ----------
    dtype
        Of x.
    offset
        The mean over the standard deviation.
    """

    dtype: torch.dtype
    offset: float

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return x and dy of a step."""
        rng = torch.Generator().manual_seed(1000 * SETTINGS.index(self) + step)
        x, dy = torch.randn((2, SAMPLES, CHANNELS, *PLACES), generator=rng)
        # 16 bits hold no 1e5: the mean is 8 at most, unless the deviation is 1.
        scale = 1.0 if self.dtype == torch.float32 else min(1.0, 8 / max(self.offset, 1.0))
        x = (x + self.offset) * scale
        if self.dtype != torch.float16:  # of which float64 adds any values exactly
            for values, large in ((x, 1e20), (dy, 1e17)):  # float64 would lose the others
                values[3, 0, 0, 0], values[7, 0, 1, 2] = large, -large
        return x.to(self.dtype), dy.to(self.dtype)

    def samples(self, ranks: int, rank: int, step: int) -> torch.Tensor:
        """Return the samples of a rank in a step: a random part of a random order."""
        rng = torch.Generator().manual_seed(100 * SETTINGS.index(self) + step + 7 * ranks)
        order = torch.randperm(SAMPLES, generator=rng)
        edges = torch.randint(0, SAMPLES + 1, (ranks - 1,), generator=rng).sort().values
        if step % 4 == 1:  # ranks of one sample
            edges = torch.arange(1, ranks)
        if step % 4 == 2:  # empty ranks
            edges = torch.full((ranks - 1,), SAMPLES)
        bounds = [0, *edges.tolist(), SAMPLES]
        return order[bounds[rank] : bounds[rank + 1]]


SETTINGS = [
    Setting(dtype, offset)
    for dtype in (torch.float32, torch.float16, torch.bfloat16)
    for offset in (0.0, 1.0, 1e5, 1e7)
]


class Part(NamedTuple):
    """What one rank has: of each step its samples with their y and dx, and the last state."""

    steps: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
    state: dict[str, torch.Tensor]


def use_numpy() -> None:
    """Let this process compute without the C++ part."""
    native_kernel._native = None
    kernels.available.cache_clear()
    kernels.get.cache_clear()
    assert kernels.get().name == "numpy"


def on_ranks(rank: int, groups: Sequence[Any]) -> list[list[Part | None]]:
    """Return the part of a rank, for each setting and each group in which it is."""
    return [
        [
            part(setting, group, group.size(), rank) if rank < size else None
            for size, group in enumerate(groups, start=1)
        ]
        for setting in SETTINGS
    ]


def part(setting: Setting, group: Any, ranks: int, rank: int) -> Part:
    """Train a layer in a group; ranks have different memory formats."""
    layer = SyncBatchNorm(CHANNELS, process_group=group, reduce_parameters=True)
    steps = []
    for step in range(STEPS):
        own = setting.samples(ranks, rank, step)
        layout = FORMATS[(rank + step // 2) % 2]
        x, dy = (t[own].contiguous(memory_format=layout) for t in setting.batch(step))
        x.requires_grad_()
        layer.zero_grad()
        y = layer(x)
        y.backward(dy)
        with torch.no_grad():
            layer.weight -= RATE * layer.weight.grad
            layer.bias -= RATE * layer.bias.grad
        steps.append((own, y.detach(), x.grad))
    return Part(steps, {name: value.clone() for name, value in layer.state_dict().items()})


def alone(setting: Setting) -> str:
    """Return the hash of one process that has all samples, by the function."""
    weight, bias = torch.ones(CHANNELS).requires_grad_(), torch.zeros(CHANNELS).requires_grad_()
    mean, var = torch.zeros(CHANNELS), torch.ones(CHANNELS)
    steps = []
    for step in range(STEPS):
        x, dy = setting.batch(step)
        x.requires_grad_()
        y = batch_norm(x, mean, var, weight, bias, training=True, sums="exact")
        gradients = torch.autograd.grad(y, (x, weight, bias), dy)
        with torch.no_grad():
            weight -= RATE * gradients[1]
            bias -= RATE * gradients[2]
        steps.append((y.detach(), gradients[0]))
    state = {"weight": weight.detach(), "bias": bias.detach()}
    return _digest(steps, {**state, "running_mean": mean, "running_var": var})


def merged(parts: Sequence[Part]) -> list[str]:
    """Return the hash of y and dx of all ranks and of the state of each, rank by rank."""
    steps = []
    for step in range(STEPS):
        of_ranks = [part.steps[step] for part in parts]
        order = torch.cat([own for own, _, _ in of_ranks]).argsort()
        steps.append(tuple(torch.cat([of[k] for of in of_ranks])[order] for k in (1, 2)))
    return [_digest(steps, part.state) for part in parts]


def _digest(steps: Sequence[tuple[torch.Tensor, ...]], state: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    names = ("weight", "bias", "running_mean", "running_var")
    for tensor in (*itertools.chain(*steps), *(state[name] for name in names)):
        digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
