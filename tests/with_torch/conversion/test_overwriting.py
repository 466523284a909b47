"""In place in forwards that nobody here knows: the same gradients, or out of place."""

from __future__ import annotations

import pickle
import warnings
from copy import deepcopy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.autograd.graph import saved_tensors_hooks  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from backnorm.errors import SmallWeightWarning  # noqa: E402
from backnorm.torch import conversion_report, convert, revert  # noqa: E402
from backnorm.torch.engine import functional, modules  # noqa: E402
from with_torch.conversion.models import assert_close, assert_same, built, drawn  # noqa: E402
from with_torch.conversion.overwriting import (  # noqa: E402
    IN_PLACE,
    InputAdded,
    NoAct,
    Plain,
    Residual,
)
from with_torch.engine.tensors import needs_engine  # noqa: E402

SHAPE = (2, 3, 4, 6)


class First(nn.Module):
    """Gives the first of what a module returns, all of it counted."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return one tensor."""
        y = self.inner(x)
        return y if isinstance(y, torch.Tensor) else y[0] * y[1]


@pytest.fixture
def in_place(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether y was to take the memory of x, call by call."""
    seen: list[bool] = []
    normalize = modules.batch_norm

    def noted(x: torch.Tensor, *arguments: Any, **keywords: Any) -> torch.Tensor:
        y = normalize(x, *arguments, **keywords)
        seen.append(y.data_ptr() == x.data_ptr())
        return y

    monkeypatch.setattr(modules, "batch_norm", noted)
    return seen


@needs_engine
@pytest.mark.parametrize("name", IN_PLACE)
def test_it_computes_the_same(name: str, in_place: list[bool]) -> None:
    """Training, eval, gradients in both; as many calls are in place as the report says."""
    build, count, why = IN_PLACE[name]
    want, got = built(build), built(build)
    report = conversion_report(convert(got, inplace=True))
    assert report.in_place == count, str(report)
    assert why in " ".join(str(report).split())
    assert_same(First(got), First(want), SHAPE)
    assert_same(First(pickle.loads(pickle.dumps(got))), First(want), SHAPE)  # noqa: S301
    in_place.clear()
    deepcopy(got)(drawn(SHAPE, 0))
    assert any(in_place) == bool(count)
    assert conversion_report(convert(got, inplace=True)).entries == report.entries
    revert(got)
    assert_same(First(got), First(want), SHAPE)


@needs_engine
def test_without_fusing() -> None:
    """An activation by itself may keep what it reads, a convolution does not write to it."""
    for build, count in ((Plain, 0), (NoAct, 1)):
        want, got = built(build), built(build)
        report = conversion_report(convert(got, fuse=False, inplace=True))
        assert (report.fused, report.in_place) == (0, count)
        assert_same(got, want, SHAPE)


def hook_before(block: Any) -> None:
    """Keep what the convolution returned."""
    kept = []
    block.conv1.register_forward_hook(lambda _, __, y: kept.append(y))
    block.register_forward_hook(lambda _, __, y: y + kept.pop())


def other_before(block: Any) -> None:
    """Have the input made by what keeps its output."""
    block.conv1 = nn.Sequential(nn.Sigmoid())


def same_before(block: Any) -> None:
    """Have the caller's tensor normalized."""
    block.conv1 = nn.Identity()


def other_after(block: Any) -> None:
    """Have the output overwritten."""
    block.conv2 = nn.Sequential(nn.ELU(inplace=True))


def hook_after(block: Any) -> None:
    """Have the output overwritten by who listens."""
    block.conv2.register_forward_pre_hook(lambda _, x: x[0].mul_(2))


def other_act(block: Any) -> None:
    """Replace the activation by one that cannot be undone."""
    block.act = nn.ReLU()


CHANGES = [
    (Plain, hook_before),
    (Plain, other_before),
    (Plain, same_before),
    (Plain, other_act),
    (NoAct, other_after),
    (NoAct, hook_after),
]


@needs_engine
@pytest.mark.parametrize(("build", "change"), CHANGES)
def test_what_is_changed_later_counts(build: Any, change: Any, in_place: list[bool]) -> None:
    """The call looks again whether it may overwrite."""
    want, got = built(build), built(build)
    assert conversion_report(convert(got, inplace=True)).in_place == 1
    for block in (want, got):
        change(block)
    assert_same(got, want, SHAPE)
    in_place.clear()
    deepcopy(got)(drawn(SHAPE, 0))
    assert not any(in_place)


@needs_engine
def test_tiny_weights_are_kept_out(in_place: list[bool]) -> None:
    """Their gradient is right, and a warning says it."""
    want, got = built(Plain), built(Plain)
    for block in (want, got):
        nn.init.constant_(block.bn1.weight, 1e-20)
    assert conversion_report(convert(got, inplace=True)).in_place == 1
    functional._warn_of_small_weights.cache_clear()
    with pytest.warns(SmallWeightWarning, match="inplace is ignored in this call"):
        deepcopy(got)(drawn(SHAPE, 0))
    assert in_place == [False]
    assert_same(got, want, SHAPE)


@needs_engine
@pytest.mark.parametrize("frozen", ["conv1", "bn1", "conv2", "act"])
def test_parts_that_do_not_learn(frozen: str) -> None:
    """Layers whose parameters ask for no gradient, or which are in eval alone."""
    want, got = built(Plain), built(Plain)
    convert(got, inplace=True)
    for block in (want, got):
        getattr(block, frozen).requires_grad_(requires_grad=False).eval()
    assert_same(got, want, SHAPE)


@needs_engine
def test_without_gradients() -> None:
    """Where autograd keeps nothing, nothing but the rules protects what is read later."""
    for build in (Plain, InputAdded):
        want, got = built(build).eval(), built(build).eval()
        convert(got, inplace=True)
        for context in (torch.no_grad(), torch.inference_mode()):
            with context:
                assert_close({"y": got(drawn(SHAPE, 0))}, {"y": want(drawn(SHAPE, 0))})


@needs_engine
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint(*, reentrant: bool) -> None:
    """Forward runs again in backward."""
    want, got = built(Residual), built(Residual)
    convert(got, inplace=True)
    gradients = []
    for block in (want, got):
        x = drawn(SHAPE, 0).requires_grad_()
        checkpoint(block, x, use_reentrant=reentrant).sin().sum().backward()
        gradients.append({"x": x.grad, **{k: p.grad for k, p in block.named_parameters()}})
    assert_close(gradients[1], gradients[0])


def held_bytes(model: nn.Module, x: torch.Tensor) -> int:
    """Return the bytes that a forward pass leaves for backward, each storage once."""
    held: dict[int, int] = {}

    def pack(value: torch.Tensor) -> torch.Tensor:
        held[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with saved_tensors_hooks(pack, lambda value: value):
        y = model(x)
    assert y.requires_grad
    return sum(held.values())


@needs_engine
def test_less_is_held_for_backward() -> None:
    """The input of each such normalization is no longer there beside its output."""
    block = built(Residual)
    x = drawn((4, 3, 16, 16), 0)
    convert(block)
    before = held_bytes(block, x)
    copy = deepcopy(block)
    convert(copy, inplace=True)
    # Out of place the bias is not kept either.
    assert before - held_bytes(copy, x) == x.nbytes - block.bn1.bias.nbytes


def test_nothing_is_said_where_nothing_is_left_undone() -> None:
    """A reason for each layer that is not in place, and none for one that is."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = conversion_report(convert(built(Residual), inplace=True))
    assert [(e.fused, e.in_place, e.why) for e in report.entries] == [
        ("leaky_relu", True, ""),
        ("add + leaky_relu", False, "not in place: it adds a residual"),
    ]
