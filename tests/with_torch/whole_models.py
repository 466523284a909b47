"""Models as targets of the command line: a residual network, sound or with one thing wrong."""

from __future__ import annotations

import os
import time
from typing import Any

import torch
from torch import nn

from backnorm.torch.bench import models

NO_MODEL = 3

SHAPE = (8, 3, 32, 32)


class Cutting(nn.Module):
    """A wrapper that lets the gradient around the layer in place of through it."""

    def __init__(self, inner: nn.Module) -> None:
        """Keep the layer."""
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.inner(x.detach()) + x - x.detach()


class Words(nn.Module):
    """Words to a class; a table of 50 words comes first."""

    def __init__(self) -> None:
        """Make its parts."""
        super().__init__()
        self.table, self.norm, self.head = nn.Embedding(50, 6), nn.LayerNorm(6), nn.Linear(6, 2)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """Return y; refuse what is no word."""
        assert words.dtype == torch.int64
        return self.head(self.norm(self.table(words)).mean(1))


class Two(nn.Module):
    """Takes an image and words."""

    def __init__(self) -> None:
        """Make its parts."""
        super().__init__()
        self.words, self.norm = Words(), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.norm(x).mean((2, 3)).sum(1, keepdim=True) + self.words(words)


def sound() -> nn.Module:
    """A network of 20 layers that normalize, as it is made."""
    torch.manual_seed(0)
    return models.build("resnet18")


def left_in_eval() -> nn.Module:
    """One layer does not train."""
    model = sound()
    model.get_submodule("5.norm").eval()
    return model


def frozen_by_accident() -> nn.Module:
    """The parameters of one layer do not train, and its statistics do."""
    model = sound()
    model.get_submodule("6.inner.1").requires_grad_(requires_grad=False)
    return model


def cut_by_a_wrapper() -> nn.Module:
    """A wrapper cuts the paths of one layer."""
    model = sound()
    model.get_submodule("7").norm = Cutting(model.get_submodule("7.norm"))
    return model


def cut_by_a_hook() -> nn.Module:
    """A hook changes the gradient that leaves one layer."""

    def lessened(_: nn.Module, given: tuple[torch.Tensor]) -> torch.Tensor:
        x = given[0].clone()
        x.register_hook(lambda dx: dx - 0.3 * dx.mean(0))
        return x

    model = sound()
    model.get_submodule("8.norm").register_forward_pre_hook(lessened)
    return model


def detached() -> nn.Module:
    """A hook detaches the input of one layer."""
    model = sound()
    model.get_submodule("8.norm").register_forward_pre_hook(lambda _, given: given[0].detach())
    return model


def without_statistics() -> nn.Module:
    """One layer keeps no running statistics."""
    model = sound()
    model.get_submodule("4").norm = nn.BatchNorm2d(64, track_running_stats=False)
    return model


def one_value() -> nn.Module:
    """After the pooling one sample has one value per channel."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4))
    return model.append(nn.Flatten())


def below_eps() -> nn.Module:
    """The eps of one layer is larger than its variances."""
    model = sound()
    model.get_submodule("9.norm").eps = 100.0
    return model


def with_inputs() -> tuple[nn.Module, torch.Tensor]:
    """A network that has seen other images than those that come with it."""
    model = sound()
    with torch.no_grad():
        model.get_submodule("1").running_mean.fill_(5.0)
    return model, torch.randn(SHAPE, generator=torch.Generator().manual_seed(4))


class OfBatch(nn.Module):
    """Takes a dictionary."""

    def __init__(self) -> None:
        """Make its parts."""
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return y, in a dictionary too."""
        return {"y": self.norm(batch["image"])}


def with_a_dictionary() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """A network whose only argument is a dictionary."""
    return OfBatch(), {"image": torch.randn(SHAPE, generator=torch.Generator().manual_seed(4))}


def with_names() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """A network whose arguments are given by their names, in another order."""
    image = torch.randn(SHAPE, generator=torch.Generator().manual_seed(4))
    return Two(), {"words": torch.arange(len(image)).reshape(-1, 1), "x": image}


class Sized(nn.Sequential):
    """A class that has to be told how many channels it has."""

    def __init__(self, channels: int) -> None:
        """Make its parts."""
        super().__init__(nn.Conv2d(3, channels, 3), nn.GroupNorm(2, channels))


class Recurrent(nn.Module):
    """A first layer that does not tell how long a sequence is."""

    def __init__(self) -> None:
        """Make its parts."""
        super().__init__()
        self.first, self.norm = nn.GRU(3, 4, batch_first=True), nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.norm(self.first(x)[0])


def plain() -> nn.Module:
    """Nothing that normalizes."""
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU())


def raises() -> nn.Module:
    """Does not build."""
    message = "no such checkpoint"
    raise FileNotFoundError(message)


class Dying(nn.Module):
    """Ends its process."""

    def __init__(self) -> None:
        """Make its parts."""
        super().__init__()
        self.norm = nn.LayerNorm(3)

    def forward(self, _: Any) -> Any:
        """Do not return."""
        os._exit(7)


class Hanging(Dying):
    """Does not come back."""

    def forward(self, _: Any) -> Any:
        """Sleep for ever."""
        time.sleep(1e6)


class Talking(Dying):
    """Writes to stdout while it is at work."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        os.write(1, b'{"record": 1}\n' * 7500)
        return self.norm(x)
