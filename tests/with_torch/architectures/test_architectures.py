"""Architectures that people use train converted as they train stock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

from backnorm.torch import conversion_report, convert  # noqa: E402
from with_torch.architectures import catalog  # noqa: E402
from with_torch.architectures.comparison import assert_close, runs_all, tensors, trained  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(
        not catalog.installed(), reason="torchvision or timm is missing; make test-architectures"
    ),
    # The libraries warn of what PyTorch will remove.
    pytest.mark.filterwarnings("ignore::Warning"),
]

ALL = (*catalog.TORCHVISION, *catalog.TIMM)
NAMES = ALL if runs_all() else catalog.SHORT


def taps(stock: nn.Module, converted: nn.Module, x: torch.Tensor) -> Iterator[tuple[str, Any, Any]]:
    """Yield what each child of each Sequential gives in both models, on stock's inputs."""
    given: dict[str, torch.Tensor] = {}
    chains = {n: m for n, m in stock.named_modules() if isinstance(m, nn.Sequential) and len(m)}
    handles = [
        chain.register_forward_pre_hook(
            lambda _, args, name=name: given.update({name: args[0]} if len(args) == 1 else {})
        )
        for name, chain in chains.items()
    ]
    with torch.no_grad():
        stock(x)
        for handle in handles:
            handle.remove()
        for name, value in given.items():
            want = got = value
            for (child, layer), twin in zip(
                chains[name].named_children(), converted.get_submodule(name), strict=True
            ):
                if not isinstance(want, torch.Tensor):
                    break
                want, got = layer(want.clone()), twin(got.clone())
                yield f"{name}.{child}", want, got


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_as_stock(name: str) -> None:
    """Two steps in float64; then taps after every child of every Sequential in evaluation."""
    stock, converted = catalog.model(name), convert(catalog.model(name))
    report = conversion_report(converted)
    assert report.converted == len(report.entries) > 0, str(report)
    x = catalog.inputs(name, stock)
    want, got = trained(stock, x), trained(converted, x)
    assert want.keys() == got.keys()
    for key, value in want.items():
        assert_close(key, value, got[key])
    for key, first, second in taps(stock.eval(), converted.eval(), x):
        for a, b in zip(tensors(first), tensors(second), strict=True):
            assert_close(key, a, b)


def test_blocks_of_both_libraries_are_fused() -> None:
    """Each relu of these networks follows a normalization; the shortcuts have none."""
    fused = {"torchvision resnet18": 17, "torchvision vgg11_bn": 8, "timm inception_v3": 94}
    reports = {name: conversion_report(convert(catalog.model(name))) for name in fused}
    assert {name: report.fused for name, report in reports.items()} == fused
