"""Models with the engine's layers compute what they did, and stay the objects that they were."""

from __future__ import annotations

import pickle
from copy import deepcopy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402

import backnorm.torch as ours  # noqa: E402
from backnorm.errors import DtypeError, NothingConvertedWarning  # noqa: E402
from backnorm.torch import conversion_report, convert, revert  # noqa: E402
from backnorm.torch.conversion import deferral  # noqa: E402
from with_torch.conversion.models import (  # noqa: E402
    SEQUENCES,
    assert_close,
    assert_same,
    built,
    drawn,
    sequence,
)
from with_torch.engine.tensors import needs_engine  # noqa: E402

SHAPE = (2, 3, 4, 5)


def classes(model: nn.Module) -> list[type]:
    """Return the classes of all modules."""
    return [type(module) for module in model.modules()]


@pytest.mark.parametrize("name", SEQUENCES)
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("fuse", [False, True])
def test_it_computes_the_same(name: str, *, inplace: bool, fuse: bool) -> None:
    """Outputs, gradients, statistics and trained parameters, in training and in eval."""
    build, shape, fused, in_place = SEQUENCES[name]
    want, got = built(build), built(build)
    report = conversion_report(convert(got, fuse=fuse, inplace=inplace))
    assert report.converted == len(report.entries) > 0
    assert report.fused == fused * fuse
    if fuse:
        assert report.in_place == in_place * inplace
    assert_same(got, want, shape)
    assert revert(got) == report.converted
    assert classes(got) == classes(want)
    assert_same(got, want, shape)


@needs_engine
def test_the_engine_runs() -> None:
    """Its nodes are in the graph, and in place y takes the memory of x."""
    model = built(lambda: sequence(nn.LeakyReLU(0.2)))
    convert(model, inplace=True)
    x = model[0](drawn(SHAPE, 0))
    waiting = deferral.apply(model[2], deferral.defer(model[1], x, model[0]))
    y = deferral.settle(waiting, model[3])
    assert y.data_ptr() == x.data_ptr()
    assert "BatchNorm" not in type(y.grad_fn).__name__
    assert type(y.grad_fn).__name__ != type(nn.BatchNorm2d(3).double()(x).grad_fn).__name__


def test_everything_stays_the_object_that_it_is() -> None:
    """Layers, parameters, buffers, flags, attributes, names; hooks act until they are removed."""
    model = built(lambda: sequence(nn.ReLU(), nn.ReLU()))
    norm = model[1]
    norm.note, norm.weight.requires_grad = "kept", False
    norm.eval()
    calls: list[str] = []
    handles = [
        norm.register_forward_pre_hook(lambda *_: calls.append("before")),
        norm.register_forward_hook(lambda *_: calls.append("after")),
        norm.register_full_backward_hook(lambda *_: calls.append("backward")),
    ]
    state = {name: id(value) for name, value in model.state_dict(keep_vars=True).items()}
    report = conversion_report(convert(model))
    assert model[1] is norm
    assert type(norm) is ours.BatchNorm2d
    assert (norm.note, norm.weight.requires_grad, norm.training) == ("kept", False, False)
    assert state == {name: id(value) for name, value in model.state_dict(keep_vars=True).items()}
    assert [entry.why for entry in report.entries] == ["it has hooks", ""]
    model(drawn(SHAPE, 0)).sum().backward()
    assert calls == ["before", "after", "backward"]
    for handle in handles:
        handle.remove()
    assert conversion_report(convert(model)).fused == 2
    model(drawn(SHAPE, 0)).sum().backward()
    assert len(calls) == 3


class Own(nn.BatchNorm2d):
    """A subclass that nobody here knows."""


def with_attribute() -> nn.Module:
    """Return a layer with an attribute that is the engine's."""
    layer = nn.BatchNorm2d(3)
    layer.through = None  # type: ignore[assignment]
    return layer


def odd_layers() -> dict[str, nn.Module]:
    """Return layers that are left alone."""
    patched = nn.BatchNorm2d(3)
    patched.forward = lambda x: x  # type: ignore[method-assign]
    return {
        "unknown": Own(3),
        "before its first call": nn.LazyBatchNorm2d(),
        "parametrized": parametrizations.weight_norm(nn.BatchNorm2d(3), dim=None),
        "forward was replaced": patched,
        "backnorm's own": ours.BatchNorm2d(3),
        "it has an attribute through": with_attribute(),
    }


@pytest.mark.parametrize("why", odd_layers())
def test_what_is_left_alone_is_listed(why: str) -> None:
    """With the reason; the layer, and the activation after it, are what they were."""
    model = nn.Sequential(odd_layers()[why], nn.ReLU())
    before = classes(model)
    report = conversion_report(convert(model))
    assert classes(model) == before
    (entry,) = report.entries
    assert entry.name == "0"
    assert why in entry.why
    assert entry.was == entry.now
    assert why in " ".join(str(report).split())
    assert revert(model) == 0
    assert classes(model) == before


@pytest.mark.parametrize("before", [lambda model: model, lambda model: revert(convert(model))])
def test_a_layer_that_can_be_converted_says_so(before: Any) -> None:
    """Before a conversion, and after its end."""
    model = nn.Sequential(nn.BatchNorm2d(3), Own(3))
    before(model)
    report = conversion_report(model)
    assert (report.converted, report.left_alone) == (0, 2)
    assert [entry.why for entry in report.entries] == [
        "not converted yet: convert(model) does that",
        "an unknown subclass may compute something else",
    ]


def test_a_lazy_layer_is_converted_after_its_first_call() -> None:
    """It is an ordinary one then."""
    model = nn.Sequential(nn.LazyBatchNorm2d(), nn.ReLU())
    model(torch.zeros(2, 3, 4, 4))
    assert conversion_report(convert(model)).fused == 1


@pytest.mark.parametrize("copied", [deepcopy, lambda model: pickle.loads(pickle.dumps(model))])  # noqa: S301
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "rows"])
def test_copies_are_converted_too(name: str, copied: Any) -> None:
    """They compute the same, and can be reverted."""
    build, shape, *_ = SEQUENCES[name]
    model = built(build)
    report = conversion_report(convert(model))
    copy = copied(model)
    assert classes(copy) == classes(model)
    assert_same(copy, built(build), shape)
    assert revert(copy) == report.converted
    assert classes(copy) == classes(built(build))


def test_twice_is_once() -> None:
    """Also with other choices, and the mode is kept through it all."""
    model = built(lambda: sequence(nn.ReLU(), nn.LeakyReLU()))
    once = conversion_report(convert(model))
    before = classes(model)
    assert conversion_report(convert(model)).entries == once.entries
    assert classes(model) == before
    assert conversion_report(convert(model, fuse=False)).fused == 0
    assert conversion_report(convert(model, inplace=True)).in_place == 1
    model.eval()
    revert(model)
    assert not any(module.training for module in model.modules())
    assert classes(model) == classes(sequence(nn.ReLU(), nn.LeakyReLU()))


def test_the_report_is_a_table() -> None:
    """A line for each layer, and the counts."""
    report = conversion_report(
        convert(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), Own(3)))
    )
    lines = [line.split() for line in str(report).splitlines()]
    assert lines[0][:3] == ["layer", "was", "now"]
    assert lines[2] == ["1", "torch.nn.BatchNorm1d", "backnorm.BatchNorm1d", "both", "relu"]
    assert lines[3][:3] == ["3", "Own", "Own"]
    assert str(report).endswith("1 of 2 converted, 1 fused, 0 in place, 1 left alone")
    assert repr(report) == "<Report: 1 of 2 converted, 1 fused, 0 in place, 1 left alone>"
    assert report._repr_html_().count("<tr>") == 3
    assert "<td>Own</td>" in report._repr_html_()


def test_the_model_comes_back() -> None:
    """As from PyTorch's converters; a report can be had of any part, converted or not."""
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    assert convert(model) is model
    assert conversion_report(model[1]).entries[0].name == ""
    assert conversion_report(nn.BatchNorm1d(3)).converted == 0


@pytest.mark.parametrize(
    ("got", "advice"),
    [
        (nn.BatchNorm1d, "got the class BatchNorm1d. Its layers are modules of PyTorch. Pass an "),
        (nn.BatchNorm1d(3).state_dict(), "got OrderedDict. .* Load a state_dict into a model, and"),
        (None, "got NoneType. Its layers are modules of PyTorch. Pass the model."),
    ],
    ids=["class", "state_dict", "nothing"],
)
@pytest.mark.parametrize("function", [convert, revert, conversion_report])
def test_what_is_no_model_is_refused(function: Any, got: Any, advice: str) -> None:
    """The message says what to pass."""
    with pytest.raises(DtypeError, match=rf"^model must be a torch\.nn\.Module, {advice}"):
        function(got)


def test_a_model_without_batch_norm_is_told() -> None:
    """By a warning: nothing is wrong with it."""
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    with pytest.warns(NothingConvertedWarning, match="^Sequential has no batch normalization, so"):
        assert convert(model) is model


@pytest.mark.parametrize("through", ["none", "mean", "variance"])
def test_one_keyword_cuts_statistics_out_of_the_gradient(through: Any) -> None:
    """Of a whole model, and of layers built by hand; a revert gives the whole gradient back."""
    want = built(lambda: sequence(nn.ReLU()))
    got = convert(deepcopy(want), through=through)
    by_hand = deepcopy(want)
    by_hand[1] = ours.BatchNorm2d(3, through=through).double()
    act = ours.BatchNormAct2d(3, through=through).double()
    by_hand[1].load_state_dict(want[1].state_dict())
    act.load_state_dict(want[1].state_dict())
    assert f"through={through}" in repr(by_hand[1])
    assert f"through={through}" in repr(act)
    assert_same(got, by_hand, SHAPE)
    fused = nn.Sequential(want[0], act, *want[3:])
    x = drawn(SHAPE, 0)
    assert_close({"dx": slope(got, x)}, {"dx": slope(fused, x)})
    cut = slope(got, x)
    assert revert(got) == 1
    assert not torch.allclose(slope(got, x), cut)
    assert_close({"dx": slope(got, x)}, {"dx": slope(want, x)})


def slope(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the gradient of a loss by x."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).square().sum(), x)[0]


def test_a_synchronized_layer_without_a_group_is_converted() -> None:
    """It has no other process to ask; its class and its state stay."""
    want, got = (
        built(lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.SyncBatchNorm(3))) for _ in "ab"
    )
    report = conversion_report(convert(got))
    assert (report.converted, report.entries[0].now) == (1, "backnorm.SyncBatchNorm")
    assert isinstance(got[1], nn.SyncBatchNorm)
    assert_same(got, want, SHAPE)
    assert_same(pickle.loads(pickle.dumps(got)), want, SHAPE)  # noqa: S301
    assert revert(got) == 1
    assert type(got[1]) is nn.SyncBatchNorm
