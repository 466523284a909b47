"""Fusion in the forward of classes that nobody here knows."""

from __future__ import annotations

import operator
import pickle
from copy import deepcopy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

from backnorm.torch import conversion_report, convert, revert  # noqa: E402
from backnorm.torch.conversion import deferral  # noqa: E402
from backnorm.torch.engine import modules  # noqa: E402
from with_torch.conversion.blocks import BLOCKS, Basic  # noqa: E402
from with_torch.conversion.models import assert_close, assert_same, built, drawn  # noqa: E402

SHAPE = (2, 3, 4, 6)


@pytest.fixture
def activations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the engine computes together with a normalization, call by call."""
    seen: list[str] = []
    normalize = modules.batch_norm

    def noted(*arguments: Any, **keywords: Any) -> torch.Tensor:
        added = "add + " if keywords.get("residual") is not None else ""
        seen.append(added + keywords.get("activation", ""))
        return normalize(*arguments, **keywords)

    monkeypatch.setattr(modules, "batch_norm", noted)
    return seen


@pytest.mark.parametrize("name", BLOCKS)
def test_it_computes_the_same(name: str) -> None:
    """In training and in eval, fused or not; and so does a copy, and what was reverted."""
    build, fused, why = BLOCKS[name]
    want, got = built(build), built(build)
    report = conversion_report(convert(got))
    assert report.fused == fused, str(report)
    assert why in " ".join(str(report).split())
    assert isinstance(got, type(want))
    assert got.state_dict().keys() == want.state_dict().keys()
    assert_same(got, want, SHAPE)
    assert_same(pickle.loads(pickle.dumps(got)), want, SHAPE)  # noqa: S301
    assert conversion_report(convert(got)).entries == report.entries
    revert(got)
    assert [type(m) for m in got.modules()] == [type(m) for m in want.modules()]
    assert_same(got, want, SHAPE)


def test_one_pass_computes_it_all(activations: list[str]) -> None:
    """A residual block with one activation for all, whose copies fuse too."""
    block = built(lambda: Basic(3))
    convert(block)
    for one in (block, deepcopy(block), pickle.loads(pickle.dumps(block))):  # noqa: S301
        activations.clear()
        one(drawn(SHAPE, 0))
        assert activations == ["relu", "add + relu"]


def change_hook(block: Any) -> None:
    """Listen to the activation."""
    block.relu.register_forward_hook(lambda _, __, y: y * 2)


def change_activation(block: Any) -> None:
    """Replace the activation."""
    block.relu = nn.Tanh()


def change_norm(block: Any) -> None:
    """Take a normalization out."""
    block.bn2 = nn.Identity()


def change_branch(block: Any) -> None:
    """Put in a branch that was not there."""
    block.shortcut = nn.Conv2d(3, 3, 1).double().eval()
    nn.init.constant_(block.shortcut.weight, 0.5)
    nn.init.zeros_(block.shortcut.bias)


@pytest.mark.parametrize("change", [change_hook, change_activation, change_norm, change_branch])
def test_what_is_changed_later_counts(change: Any) -> None:
    """The fused forward sees it."""
    want, got = built(lambda: Basic(3)), built(lambda: Basic(3))
    convert(got)
    for block in (want, got):
        change(block)
    assert_same(got, want, SHAPE)


def test_a_residual_of_another_shape(activations: list[str]) -> None:
    """It is added after the normalization, which may broadcast it."""
    norm = convert(modules.BatchNorm2d.stock(3)).double()
    x = drawn(SHAPE, 0)
    for residual in (x[:1].expand_as(x).contiguous(), x[:1]):
        y = deferral.add(operator.add, deferral.defer(norm, x), residual)
        settled = deferral.settle(deferral.apply(torch.relu, y))
        assert_close({"y": settled}, {"y": torch.relu(norm(x) + residual)})
    assert activations == ["add + relu"]  # all others are usual calls, which run in C++
