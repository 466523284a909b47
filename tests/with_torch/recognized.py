"""Normalizations in every layout and under many names, right or with statistics detached."""

from __future__ import annotations

import os
import time
from typing import Any

import torch
from torch import nn


class Over(nn.Module):
    """Normalizes over some axes; gamma and beta in a shape that broadcasts."""

    axes: tuple[int, ...] = (0, 2, 3)
    shape: tuple[int, ...] = (1, 4, 1, 1)

    def __init__(self, cut: str = "") -> None:
        """Keep which statistics are detached."""
        super().__init__()
        self.cut = cut
        self.weight = nn.Parameter(torch.linspace(0.5, 2.0, 4))
        self.bias = nn.Parameter(torch.linspace(-1.0, 1.0, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        mean = x.mean(self.axes, keepdim=True)
        var = x.var(self.axes, correction=0, keepdim=True)
        mean = mean.detach() if "mean" in self.cut else mean
        var = var.detach() if "variance" in self.cut else var
        x_hat = (x - mean) / (var + 1e-5).sqrt()
        return x_hat * self.weight.view(self.shape) + self.bias.view(self.shape)


IMAGE, LAST, TIME = (6, 4, 5, 7), (6, 5, 7, 4), (6, 9, 4)

LAYOUTS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    "batch, channels second": ("batch", IMAGE, (0, 2, 3), (1, 4, 1, 1)),
    "batch, channels last": ("batch", LAST, (0, 1, 2), (1, 1, 1, 4)),
    "batch, over samples and time": ("batch", TIME, (0, 1), (1, 1, 4)),
    "layer, channels second": ("layer", IMAGE, (1,), (1, 4, 1, 1)),
    "layer, channels last": ("layer", LAST, (3,), (1, 1, 1, 4)),
    "instance, channels second": ("instance", IMAGE, (2, 3), (1, 4, 1, 1)),
    "instance, over time": ("instance", TIME, (1,), (1, 1, 4)),
    "group of all channels": ("group", IMAGE, (1, 2, 3), (1, 4, 1, 1)),
}

NAMES = ("MyNorm", "BN", "DetachedMeanNorm", "BN2d", "RevIN", "MyLayerNorm", "MyBatchNorm2d", "Odd")


def made(name: str, layout: str, cut: str = "") -> tuple[nn.Module, torch.Tensor]:
    """Return a model with such a layer between two scales, and its input."""
    _, shape, axes, parameters = LAYOUTS[layout]
    layer = type(name, (Over,), {"axes": axes, "shape": parameters})(cut)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(3)) + 1.5
    x = x * torch.linspace(0.5, 2.0, x.numel()).view(shape)
    return nn.Sequential(nn.Dropout(0.0), layer, nn.Tanh()), x


class _Broken(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(_: Any, __: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class BrokenStep(nn.Module):
    """Not a normalization; its backward pass raises."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x."""
        return _Broken.apply(x)


class Doing(nn.BatchNorm1d):
    """Does something in its second call, or in each."""

    def __init__(self, what: str, *, always: bool = False) -> None:
        """Keep what."""
        super().__init__(4)
        self.what, self.calls, self.always = what, 0, always

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        self.calls += 1
        if self.calls > 1 or self.always:
            os._exit(7) if self.what == "exits" else time.sleep(1e6)
        return super().forward(x)


def three(middle: nn.Module) -> tuple[nn.Module, torch.Tensor]:
    """Three layers, one between the others, and an input."""
    layers = (nn.BatchNorm1d(4), nn.Linear(4, 4), middle, nn.Linear(4, 4), nn.BatchNorm1d(4))
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    return nn.Sequential(*layers), x


def hangs_as_it_is_measured() -> Any:
    """The second call hangs."""
    return three(Doing("hangs"))


def exits_as_it_is_measured() -> Any:
    """The second call ends the process."""
    return three(Doing("exits"))


def hangs_in_the_pass() -> Any:
    """The first call hangs."""
    return three(Doing("hangs", always=True))


def exits_in_the_pass() -> Any:
    """The first call ends the process."""
    return three(Doing("exits", always=True))


def raises_in_backward() -> Any:
    """A step that is not a normalization raises in the backward pass."""
    return three(BrokenStep())
