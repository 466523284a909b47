"""Models of the catalog, stock and converted, and how far what they return is apart."""

from __future__ import annotations

import os
from copy import deepcopy
from typing import Any, Final

import torch
from torch import nn

from backnorm.torch import conversion_report, convert
from with_torch.architectures import catalog

TOLERANCES: Final = {torch.float64: 1e-7, torch.float32: 1e-4}
"""Relative to the largest value: normalizations in a row amplify the rounding."""


STEPS = 2


def runs_all() -> bool:
    """Whether the tests take all models; `.ci/run` takes some."""
    return os.environ.get("BACKNORM_ARCHITECTURES") == "all"


def tensors(output: Any) -> list[torch.Tensor]:
    """Return the tensors of what a model returns."""
    if isinstance(output, torch.Tensor):
        return [output]
    parts = output.values() if isinstance(output, dict) else output
    return [tensor for part in parts for tensor in tensors(part)]


def difference(want: torch.Tensor, got: torch.Tensor) -> float:
    """Return the largest difference, relative to the largest value."""
    assert want.shape == got.shape
    if not want.numel():
        return 0.0
    size = max(1.0, float(want.detach().abs().max()))
    return float((want.detach() - got.detach()).abs().max()) / size


def assert_close(name: str, want: torch.Tensor, got: torch.Tensor) -> None:
    """Assert that two tensors agree."""
    assert want.shape == got.shape, name
    if want.is_floating_point():
        error = difference(want, got)
        assert error <= TOLERANCES[want.dtype], f"{name}: {error:.1e}"


def images(seed: int, dtype: torch.dtype, side: int = 64) -> torch.Tensor:
    """Return two images."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, side, side, generator=generator, dtype=torch.float64).to(dtype)


def pair(name: str, dtype: torch.dtype, *, training: bool = False) -> tuple[nn.Module, nn.Module]:
    """Return an architecture, stock and wholly converted; no normalization is an identity."""
    stock = catalog.model(name).to(dtype).train()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in stock.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.uniform_(0.5, 1.5, generator=generator)
                layer.bias.uniform_(-0.5, 0.5, generator=generator)
        for seed in range(3):
            stock(images(seed, dtype))
    converted = convert(deepcopy(stock))
    report = conversion_report(converted)
    assert report.converted == len(report.entries) > 0, str(report)
    return stock.train(training), converted.train(training)


def called(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return y; what the model draws is the same each time."""
    torch.manual_seed(0)
    y: torch.Tensor = model(x)
    return y


def trained(network: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Take SGD steps, and return outputs, last gradients and the state."""
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    seen: dict[str, torch.Tensor] = {}
    for step in range(STEPS):
        torch.manual_seed(step)  # dropout
        optimizer.zero_grad()
        outputs = tensors(network(x))
        sum(
            (y * torch.linspace(-1, 1, y.numel()).reshape(y.shape)).sum() for y in outputs
        ).backward()
        optimizer.step()
        seen |= {f"output {step}.{at}": y.detach() for at, y in enumerate(outputs)}
    seen |= {f"gradient {n}": p.grad for n, p in network.named_parameters() if p.grad is not None}
    return {**seen, **network.state_dict()}
