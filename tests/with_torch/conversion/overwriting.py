"""Modules whose forward lets a normalization work in the memory of its input, or must not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable


class Plain(nn.Module):
    """Convolution, normalization, activation, convolution."""

    def __init__(self, act: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.act = nn.LeakyReLU(0.2) if act is None else act
        self.conv2, self.conv3 = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.conv2(self.act(self.bn1(self.conv1(x))))  # type: ignore[no-any-return]


class NoAct(Plain):
    """No activation between the normalization and what reads it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.conv2(self.bn1(self.conv1(x)))  # type: ignore[no-any-return]


class Functional(Plain):
    """The activation is a function that overwrites its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = functional.leaky_relu(self.bn1(self.conv1(x)), 0.25, inplace=True)
        return self.conv2(y)  # type: ignore[no-any-return]


class ReadTwice(Plain):
    """Two convolutions and a sum read the output."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.act(self.bn1(self.conv1(x)))
        return (self.conv2(y) + self.conv3(y)) * torch.add(y, x)


class AddedInto(Plain):
    """The output is added into another tensor, which is written to."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        z = self.conv3(x)
        z += self.act(self.bn1(self.conv1(x)))
        return self.conv2(z)  # type: ignore[no-any-return]


class Residual(nn.Module):
    """A residual block whose activations can be undone."""

    def __init__(self, act: nn.Module | None = None, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 3, 3, stride, 1), nn.BatchNorm2d(3)
        self.act = nn.LeakyReLU(0.2, inplace=True) if act is None else act
        self.conv2, self.bn2 = nn.Conv2d(3, 3, 3, 1, 1), nn.BatchNorm2d(3)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(3, 3, 1, stride), nn.BatchNorm2d(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        out = self.act(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return self.act(out)  # type: ignore[no-any-return]


class Sequences(nn.Module):
    """What comes before and after lies in Sequentials."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.Sequential(nn.Tanh(), nn.Conv2d(3, 3, 1)))
        self.norm, self.act = nn.BatchNorm2d(3), nn.LeakyReLU()
        self.after = nn.Sequential(nn.MaxPool2d(2), nn.ReLU(inplace=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.after(self.act(self.norm(self.before(x))))  # type: ignore[no-any-return]


class Returned(Plain):
    """The block returns its output, and who calls it may do anything with it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.act(self.bn1(self.conv1(x)))  # type: ignore[no-any-return]


class ReturnedToo(Plain):
    """The output is read and returned."""

    def forward(self, x: torch.Tensor) -> Any:
        """Return y and the output."""
        y = self.act(self.bn1(self.conv1(x)))
        return self.conv2(y) * torch.sigmoid(self.conv3(y)), y


class InputReturned(Plain):
    """The input of the normalization is returned."""

    def forward(self, x: torch.Tensor) -> Any:
        """Return y and the input."""
        z = self.conv1(x)
        return self.conv2(self.act(self.bn1(z))), z


class InputAdded(Plain):
    """What is added is the input itself: a sum keeps nothing that would tell."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        z = self.conv1(x)
        return self.conv2(self.bn1(z)) + z  # type: ignore[no-any-return]


class InputResidual(Plain):
    """The residual is the input itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        z = self.conv1(x)
        return self.conv2(self.act(self.bn1(z) + z))  # type: ignore[no-any-return]


class InputViewed(Plain):
    """Somebody holds a view of the input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        z = self.conv1(x)
        seen = z.view(z.shape)
        return self.conv2(self.act(self.bn1(z))) + seen  # type: ignore[no-any-return]


class InputOfOther(Plain):
    """The input comes from what keeps its output."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.conv2(self.act(self.bn1(torch.sigmoid(self.conv1(x)))))  # type: ignore[no-any-return]


class OwnInput(Plain):
    """The input is the caller's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.conv2(self.act(self.bn1(x)))  # type: ignore[no-any-return]


class OutputChanged(Plain):
    """The output is written to."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.act(self.bn1(self.conv1(x)))
        y += x
        return self.conv2(y)  # type: ignore[no-any-return]


class OutputViewed(Plain):
    """A view of the output is written to."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.act(self.bn1(self.conv1(x)))
        flat = torch.flatten(y, 1)
        flat.mul_(2)
        return self.conv2(y)  # type: ignore[no-any-return]


class OutputSquared(Plain):
    """A product reads the output, of which nobody here knows what it keeps."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.act(self.bn1(self.conv1(x)))
        return y * y


class CalledTwice(Plain):
    """One normalization in two places."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.conv2(self.act(self.bn1(self.conv1(x))))
        return self.conv3(self.act(self.bn1(self.conv1(y))))  # type: ignore[no-any-return]


class Twins(nn.Module):
    """Two blocks share a normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = Plain(), Plain()
        self.two.bn1 = self.one.bn1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.two(self.one(x))  # type: ignore[no-any-return]


class Moded(Plain):
    """It reads its input once more in eval."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        z = self.conv1(x)
        y = self.conv2(self.act(self.bn1(z)))
        return y if self.training else y + z  # type: ignore[no-any-return]


def listen(*_: Any) -> None:
    """Be a hook."""


def with_hook(name: str) -> Plain:
    """Return a block one of whose layers is listened to."""
    block = Plain()
    getattr(block, name).register_forward_hook(listen)
    return block


def patched(name: str) -> Plain:
    """Return a block one of whose layers has a forward of its own."""
    block = Plain()
    layer = getattr(block, name)
    layer.forward = type(layer).forward.__get__(layer)
    return block


NEEDED, CHANGED = "its input may be needed elsewhere", "its output may be changed"

IN_PLACE: dict[str, tuple[Callable[[], nn.Module], int, str]] = {
    # name: module, how many are in place, why others are not
    "plain": (Plain, 1, ""),
    "no activation": (NoAct, 1, ""),
    "functional": (Functional, 1, ""),
    "read twice": (ReadTwice, 0, CHANGED),
    "added into": (AddedInto, 0, CHANGED),
    "residual": (Residual, 1, "it adds a residual"),
    "residual, strided": (lambda: Residual(stride=2), 1, "it adds a residual"),
    "sequences": (Sequences, 1, ""),
    "moded": (Moded, 0, NEEDED),
    "relu": (lambda: Plain(nn.ReLU()), 0, "relu cannot be undone"),
    "unknown": (lambda: Plain(nn.Tanh()), 0, CHANGED),
    "overwriting": (lambda: Plain(nn.ELU(inplace=True)), 0, CHANGED),
    "returned": (Returned, 0, CHANGED),
    "returned too": (ReturnedToo, 0, CHANGED),
    "input returned": (InputReturned, 0, NEEDED),
    "input added": (InputAdded, 0, "its output is used elsewhere"),
    "input as residual": (InputResidual, 0, "it adds a residual"),
    "input viewed": (InputViewed, 0, NEEDED),
    "input of another": (InputOfOther, 0, NEEDED),
    "input of the caller": (OwnInput, 0, NEEDED),
    "output changed": (OutputChanged, 0, CHANGED),
    "output viewed": (OutputViewed, 0, CHANGED),
    "output squared": (OutputSquared, 0, CHANGED),
    "called twice": (CalledTwice, 1, ""),
    "twins": (Twins, 1, ""),
    "hook before": (lambda: with_hook("conv1"), 0, NEEDED),
    "hook": (lambda: with_hook("bn1"), 0, "it has hooks"),
    "hook on the activation": (lambda: with_hook("act"), 0, CHANGED),
    "hook after": (lambda: with_hook("conv2"), 0, CHANGED),
    "patched before": (lambda: patched("conv1"), 0, NEEDED),
    "patched after": (lambda: patched("conv2"), 0, CHANGED),
}
