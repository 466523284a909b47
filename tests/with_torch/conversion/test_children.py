"""Whoever meets the layers of a converted Sequential one by one finds what they were."""

from __future__ import annotations

import copy
import pickle
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrize, prune  # noqa: E402

from backnorm.torch import conversion_report, convert, revert  # noqa: E402
from with_torch.conversion.models import (  # noqa: E402
    SEQUENCES,
    assert_close,
    assert_same,
    built,
    drawn,
    sequence,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE = (2, 3, 4, 5)

FUSED = [name for name, (_, _, fused, in_place) in SEQUENCES.items() if fused or in_place]
"""Sequentials in which something is computed in one pass or in place."""


def pair(name: str, *, inplace: bool = False) -> tuple[Any, Any, tuple[int, ...]]:
    """Return a stock model, the same converted, and the shape of its input."""
    build, shape, *_ = SEQUENCES[name]
    return built(build), convert(built(build), inplace=inplace), shape


def outputs(model: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Walk over the children, and return what each gives."""
    taps = {}
    for name, layer in model.named_children():
        x = taps[name] = layer(x.clone())
    return taps


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", FUSED)
def test_taps_after_every_child(name: str, *, training: bool, inplace: bool) -> None:
    """A forward that calls the children itself gets what they gave."""
    want, got, shape = pair(name, inplace=inplace)
    x = drawn(shape, 0)
    assert_close(outputs(got.train(training), x), outputs(want.train(training), x))


@pytest.mark.parametrize("name", FUSED)
def test_every_slice(name: str) -> None:
    """A slice computes what the slice of the stock model does, also with an end counted back."""
    want, got, shape = pair(name)
    x = drawn(shape, 0)
    for begin, end in combinations(range(len(want) + 1), 2):
        y = want[:begin](x.clone())
        assert_close({"y": got[begin:end](y.clone())}, {"y": want[begin:end](y.clone())})
        assert_close({"y": got[begin - len(got) : end](y.clone())}, {"y": want[begin:end](y)})


REPLACEMENTS: dict[str, Callable[[], nn.Module]] = {
    "another activation": nn.GELU,
    "the same with other settings": lambda: nn.LeakyReLU(0.5),
    "nothing": nn.Identity,
    "groups": lambda: nn.GroupNorm(1, 3).double(),
    "a stock layer": lambda: built(lambda: nn.BatchNorm2d(3)),
    "a layer of ours": lambda: convert(built(lambda: nn.BatchNorm2d(3))),
    "a Sequential": lambda: nn.Sequential(nn.Tanh(), nn.ReLU()),
    "dropout": lambda: nn.Dropout(0.5).eval(),
}


@pytest.mark.parametrize("replacement", REPLACEMENTS)
def test_every_assignment(replacement: str) -> None:
    """A child that was replaced after the conversion counts, wherever it stands."""
    build = REPLACEMENTS[replacement]
    for position in range(1, 6):
        want, got = (built(lambda: sequence(nn.ReLU(), nn.LeakyReLU())) for _ in range(2))
        convert(got, inplace=True)
        for model in (want, got):
            model[position] = build()
        assert_same(got, want, SHAPE)


CHANGES: dict[str, Callable[[Any], object]] = {
    "append": lambda model: model.append(nn.Tanh()),
    "insert": lambda model: model.insert(2, nn.Tanh()),
    "extend": lambda model: model.extend([nn.Tanh(), nn.ReLU()]),
    "delete": lambda model: model.__delitem__(2),
    "pop": lambda model: model.pop(2),
    "add_module": lambda model: model.add_module("last", nn.Tanh()),
    "setattr": lambda model: setattr(model, "2", nn.Tanh()),
    "swap": lambda model: model.__setitem__(2, model[5]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_other_change(change: str) -> None:
    """Children that come, go or move."""
    want, got = (built(lambda: sequence(nn.ReLU(), nn.LeakyReLU())) for _ in range(2))
    convert(got)
    for model in (want, got):
        CHANGES[change](model)
    assert_same(got, want, SHAPE)


HOOKS: dict[str, Callable[[Any, list[Any]], Any]] = {
    "forward": lambda m, seen: m.register_forward_hook(lambda _, __, y: seen.append(y.detach())),
    "forward pre": lambda m, seen: m.register_forward_pre_hook(
        lambda _, x: seen.append(x[0].detach())
    ),
    "backward": lambda m, seen: m.register_full_backward_hook(
        lambda _, dx, dy: seen.extend([dx[0].detach(), dy[0].detach()])
    ),
    "backward pre": lambda m, seen: m.register_full_backward_pre_hook(
        lambda _, dy: seen.append(dy[0].detach())
    ),
    "changes y": lambda m, seen: m.register_forward_hook(lambda _, __, y: y * 2 + len(seen)),
}


@pytest.mark.parametrize("first", [False, True], ids=["hook first", "converted first"])
@pytest.mark.parametrize("kind", HOOKS)
def test_hooks_of_every_sort(kind: str, *, first: bool) -> None:
    """On each child: it is called with the same tensors, before and after the conversion."""
    for position in range(6):
        results = []
        for converted in (False, True):
            model, seen = built(lambda: sequence(nn.ReLU(), nn.LeakyReLU())), []
            if converted and first:
                convert(model)
            HOOKS[kind](model[position], seen)
            if converted and not first:
                convert(model)
            x = drawn(SHAPE, 0).requires_grad_()
            y = model(x)
            y.square().sum().backward()
            results.append({"y": y, "dx": x.grad, **dict(zip("abcdef", seen, strict=False))})
        assert_close(*results)


def test_hooks_on_all_modules() -> None:
    """A hook of torch.nn.modules.module hears every child of a converted model."""
    counts = []
    for converted in (False, True):
        model = built(lambda: sequence(nn.ReLU()))
        if converted:
            convert(model)
        seen: list[str] = []
        handle = nn.modules.module.register_module_forward_hook(
            lambda module, *_, seen=seen: seen.append(type(module).__name__)
        )
        model(drawn(SHAPE, 0))
        handle.remove()
        counts.append(seen)
    assert counts[0] == counts[1]


class Positive(nn.Module):
    """A parametrization."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return a positive weight."""
        return weight.abs()


REWRITES: dict[str, Callable[[Any], object]] = {
    "parametrize": lambda model: parametrize.register_parametrization(
        model[1], "weight", Positive()
    ),
    "prune": lambda model: prune.l1_unstructured(model[1], "weight", 1),
    "weight_norm": lambda model: nn.utils.parametrizations.weight_norm(model[0]),
    "synchronize": lambda model: model.__setitem__(
        1, nn.SyncBatchNorm.convert_sync_batchnorm(model[1])
    ),
    "fold": lambda model: (
        model.__setitem__(0, nn.utils.fusion.fuse_conv_bn_eval(model[0].eval(), model[1].eval())),
        model.__setitem__(1, nn.Identity()),
    ),
    "a forward of an instance": lambda model: setattr(model[1], "forward", lambda x: x + 1),
}


@pytest.mark.parametrize("rewrite", REWRITES)
def test_tools_that_rewrite_layers(rewrite: str) -> None:
    """After the conversion they do what they do to a stock model; a revert keeps that."""
    want, got = (built(lambda: sequence(nn.LeakyReLU(0.1))).eval() for _ in range(2))
    convert(got)
    for model in (want, got):
        REWRITES[rewrite](model)
    x = drawn(SHAPE, 0)
    assert_close({"y": got(x)}, {"y": want(x)})
    revert(got)
    assert_close({"y": got(x)}, {"y": want(x)})


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),  # noqa: S301 - ours
    "replica": lambda model: model._replicate_for_data_parallel(),
}


@pytest.mark.parametrize("name", ["copy", "deepcopy", "pickle", "replica"])
def test_a_copy_has_its_own_layers(name: str) -> None:
    """What is changed in a copy does not count in the model, nor the other way round."""
    want, got = (built(lambda: sequence(nn.ReLU())) for _ in range(2))
    convert(got)
    twin = COPIES[name](got)
    twin._modules = dict(twin._modules)
    twin._modules["2"] = nn.Tanh()
    assert_same(got, want, SHAPE)
    want[2] = nn.Tanh()
    assert_close({"y": twin(drawn(SHAPE, 0))}, {"y": want(drawn(SHAPE, 0))})


class Added(nn.Module):
    """It writes to what its Sequential returns."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.LeakyReLU(0.1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        out = self.block(x)
        out += x
        return out  # type: ignore[no-any-return]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_caller_may_write_to_the_output(dtype: torch.dtype) -> None:
    """A leaky_relu of PyTorch does not keep it, and the fused one does not either."""
    want, got = built(Added).to(dtype), built(Added).to(dtype)
    assert conversion_report(convert(got)).fused == 1
    outputs = []
    for model in (want, got):
        y = model(drawn(SHAPE, 0).to(dtype))
        y.square().sum().backward()
        outputs.append({"y": y, "weight": model.block[0].weight.grad})
    for name, value in outputs[0].items():
        torch.testing.assert_close(outputs[1][name], value, rtol=0.05, atol=0.1)


def test_an_identity_between_is_no_hindrance() -> None:
    """It is passed over as long as it is one."""
    build = lambda: nn.Sequential(  # noqa: E731 - built twice
        nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Identity(), nn.Identity(), nn.ReLU()
    )
    want, got = built(build), built(build)
    assert conversion_report(convert(got)).fused == 1
    assert_same(got, want, SHAPE)
    for model in (want, got):
        model[3] = nn.Tanh()
    assert_same(got, want, SHAPE)
