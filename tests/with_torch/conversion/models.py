"""Small models to convert, in float64, and their comparison with what they were."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch import nn

from backnorm.testing.budget import FRAMEWORK_PARTS, parts

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = 3


def sequence(*activations: nn.Module) -> nn.Sequential:
    """Return convolutions, each with a normalization and one of the activations."""
    layers: list[nn.Module] = []
    for activation in activations:
        layers += [nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), activation]
    return nn.Sequential(*layers, nn.Conv2d(3, 2, 1))


def limited(limit: float) -> nn.ReLU6:
    """Return a relu6 that cuts off at another value, as it does if its attribute is changed."""
    activation = nn.ReLU6()
    activation.max_val = limit
    return activation


def shared_layer() -> nn.Sequential:
    """Return a model that calls one normalization twice."""
    norm = nn.BatchNorm2d(3)
    return nn.Sequential(
        nn.Conv2d(3, 3, 1), norm, nn.ReLU(), nn.Conv2d(3, 3, 1), norm, nn.Sigmoid()
    )


ACTIVATION = nn.ReLU()

SEQUENCES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int, int]] = {
    # name: model, shape of x, how many are fused, how many in place
    "relu": (lambda: sequence(nn.ReLU(), nn.ReLU(inplace=True)), (2, 3, 4, 5), 2, 0),
    "relu6": (lambda: sequence(nn.ReLU6()), (2, 3, 4, 5), 1, 0),
    "relu6 with another limit": (lambda: sequence(limited(2.0)), (2, 3, 4, 5), 0, 0),
    "leaky_relu": (lambda: sequence(nn.LeakyReLU(0.2), nn.LeakyReLU()), (2, 3, 4, 5), 2, 2),
    "steep": (lambda: sequence(nn.LeakyReLU(-0.5)), (2, 3, 4, 5), 0, 0),
    "others": (lambda: sequence(nn.GELU(), nn.Tanh()), (2, 3, 4, 5), 0, 0),
    "none": (lambda: sequence(nn.AvgPool2d(1)), (2, 3, 4, 5), 0, 1),
    "changed later": (lambda: sequence(nn.ELU(inplace=True)), (2, 3, 4, 5), 0, 0),
    "changed, and kept": (
        lambda: nn.Sequential(*sequence(nn.LeakyReLU())[:3], nn.Hardtanh(-9, 9, inplace=True)),
        (2, 3, 4, 5),
        1,
        0,
    ),
    "one activation": (lambda: sequence(ACTIVATION, ACTIVATION), (2, 3, 4, 5), 2, 0),
    "shared layer": (shared_layer, (2, 3, 4, 5), 1, 0),
    "rows": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 1)),
        (5, 4),
        1,
        0,
    ),
    "volumes": (
        lambda: nn.Sequential(nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3), nn.LeakyReLU(0.1)),
        (2, 2, 3, 4, 3),
        1,
        0,
    ),
    "nested": (
        lambda: nn.Sequential(nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)), nn.ReLU()),
        (2, 3, 4, 5),
        0,
        0,
    ),
    "the model": (lambda: nn.BatchNorm2d(3), (2, 3, 4, 5), 0, 0),
}


def built(build: Callable[[], nn.Module]) -> nn.Module:
    """Return a model in float64, the same every time, with normalizations that are no identity."""
    torch.manual_seed(0)
    model = build().double()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
    return model


def drawn(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Return an input."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def assert_same(got: nn.Module, want: nn.Module, shape: tuple[int, ...]) -> None:
    """Assert that two models train alike, step by step, and then predict alike."""
    got, want = deepcopy(got), deepcopy(want)
    sides = [(model, torch.optim.SGD(model.parameters(), lr=0.01)) for model in (got, want)]
    for step in range(STEPS):
        seen = [_step(model, optimizer, drawn(shape, step)) for model, optimizer in sides]
        assert_close(*seen)
    assert_close(got.state_dict(), want.state_dict())
    for model in (got, want):
        model.eval()
    x = drawn(shape, STEPS)
    assert_close({"y": got(x)}, {"y": want(x)})
    assert_close(*(_step(model, optimizer, x) for model, optimizer in sides))


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor
) -> dict[str, torch.Tensor]:
    x.requires_grad_()
    optimizer.zero_grad()
    y = model(x)
    (y.sin() * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)).sum().backward()
    seen = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    optimizer.step()
    assert x.grad is not None
    return {"y": y, "dx": x.grad, **seen}


def assert_close(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> None:
    """Gradients that a normalization makes 0 are rounding: the size is that of the largest."""
    assert got.keys() == want.keys()
    size = max(float(value.detach().abs().max()) for value in want.values())
    for name, value in want.items():
        pair = [[*one.detach().double().flatten().tolist(), size] for one in (got[name], value)]
        assert parts(*pair) <= FRAMEWORK_PARTS["float64"], name
