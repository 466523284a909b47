"""Modules of classes of their own to convert, and how many of their layers are fused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable


class Basic(nn.Module):
    """Two convolutions and a shortcut, with one activation for all."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = None
        if stride != 1 or channels != 3:
            self.shortcut = nn.Sequential(
                nn.Conv2d(3, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        identity = x
        out = self.bn1(self.conv1(x))
        out = self.relu(out)
        out = self.bn2(self.conv2(out))
        if self.shortcut is not None:
            identity = self.shortcut(x)
        out += identity
        return self.relu(out)


class Bottleneck(nn.Module):
    """Three convolutions, the functional activations, and a sum the other way round."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.ReLU())
        self.conv2, self.bn2 = nn.Conv2d(2, 2, 3, 1, 1), nn.BatchNorm2d(2)
        self.conv3, self.bn3 = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        out = functional.leaky_relu(self.bn2(self.conv2(self.convs(x))), 0.25, inplace=True)
        return functional.relu(torch.add(x, self.bn3(self.conv3(out))))


class Dense(nn.Module):
    """Normalization, activation, convolution; the output beside the input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return torch.cat([x, self.conv(functional.relu6(self.norm(x)))], 1)


class UsedTwice(Dense):
    """The normalization's output is used elsewhere too."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.norm(x)
        return torch.relu(y) + y


class Broadcast(Dense):
    """What is added has another shape."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        means = x.mean((2, 3), keepdim=True)
        return torch.relu(self.norm(x) + means)


class ChangesSum(Dense):
    """The sum is written into the other operand, which is used again."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        z = x * 2
        z += self.norm(x)
        return torch.relu(z) + z


class ChangesAlias(Dense):
    """What is changed has another name too."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        z = x * 2
        alias = z
        z += self.norm(x)
        return torch.relu(self.norm(z)) + alias


class ChangesShape(Dense):
    """A number is counted up that has another name too."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        channels = before = x.size(1)
        channels += 1
        return torch.relu(self.norm(x)) * channels - before


class ChangesOutput(Dense):
    """The activation's output is changed, which leaky_relu and relu6 allow."""

    act = staticmethod(functional.leaky_relu)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.act(self.norm(x))
        y += x
        return y


class ChangesOutputSix(ChangesOutput):
    """The same with relu6."""

    act = staticmethod(functional.relu6)


class ChangesView(Dense):
    """A view of the activation's output is changed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = functional.leaky_relu(self.norm(x))
        torch.flatten(y, 1).mul_(2)
        return y


class Powers(Dense):
    """It changes a tensor by another operator."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = torch.relu(self.norm(x)) + 1
        y **= 2
        return y


class ChangesInput(Dense):
    """The normalization's input is changed before the activation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        z = x * 2
        y = self.norm(z.clone())
        z.mul_(2)
        return torch.relu(y) + z


class Dynamic(Dense):
    """Its control flow depends on values."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return torch.relu(self.norm(x)) if x.sum() > 0 else self.norm(x)


class Moded(Dense):
    """It does something else in eval."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = torch.relu(self.norm(x))
        return y * 2 if self.training else y


class Counting(Dense):
    """It changes itself."""

    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        self.calls += 1
        return torch.relu(self.norm(x))


class Whole(nn.Module):
    """A network whose forward calls another of its methods."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(Basic(3), Basic(4, 2))
        self.head = nn.Linear(4, 2)

    def _features(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.layer1(x)  # type: ignore[no-any-return]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        x = torch.flatten(self._features(x).mean((2, 3)), 1)
        return self.head(x)  # type: ignore[no-any-return]


BLOCKS: dict[str, tuple[Callable[[], nn.Module], int, str]] = {
    # name: module, how many are fused, a reason in the report
    "basic": (lambda: Basic(3), 2, ""),
    "basic, strided": (lambda: Basic(4, 2), 2, ""),
    "bottleneck": (Bottleneck, 3, ""),
    "nested": (lambda: nn.Sequential(Basic(3), Bottleneck(), Dense()), 6, ""),
    "whole": (Whole, 5, ""),
    "dense": (Dense, 1, ""),
    "used twice": (UsedTwice, 0, "used elsewhere"),
    "broadcast": (Broadcast, 1, ""),
    "changes the sum": (ChangesSum, 0, "no activation of the engine follows"),
    "changes an alias": (ChangesAlias, 1, ""),
    "changes a shape": (ChangesShape, 1, ""),
    "changes the output": (ChangesOutput, 1, ""),
    "changes the output, relu6": (ChangesOutputSix, 1, ""),
    "changes a view": (ChangesView, 1, ""),
    "powers": (Powers, 1, ""),
    "changes the input": (ChangesInput, 0, "used elsewhere"),
    "dynamic": (Dynamic, 1, ""),
    "moded": (Moded, 1, ""),
    "counting": (Counting, 1, ""),
}
