"""A copy of a module made for a call is the one that `copy.deepcopy` makes."""

from __future__ import annotations

import collections
import copy
import functools
import operator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from backnorm.host.calls.torch_copies import deep_copy  # noqa: E402


class SaysHow(torch.nn.Module):
    """Leaves a part of itself out of copies."""

    def __deepcopy__(self, memo: dict[int, object]) -> SaysHow:
        return SaysHow()


class LosesState(torch.nn.Module):
    """Has a state that is not all it holds."""

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "lost"}


class Made(torch.nn.Module):
    """Counts how often it is made."""

    made = 0

    def __new__(cls, *_: object) -> Any:
        """Make and count."""
        Made.made += 1
        return super().__new__(cls)


def holding(**values: object) -> Any:
    """Make a module with plain attributes."""
    module = torch.nn.BatchNorm1d(3)
    for name, value in values.items():
        setattr(module, name, value)
    return module


def with_buffers(**values: object) -> Any:
    """Make a module with buffers."""
    module = torch.nn.Module()
    for name, value in values.items():
        module.register_buffer(name, value)
    return module


def other(module: Any) -> Any:
    """Copy a module as an audit does."""
    return deep_copy(module, {})


def test_parts_and_tensors_are_copied() -> None:
    """Equal, and no memory shared; the modes stay."""
    module = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Conv2d(3, 2, 1)).eval()
    twin = other(module)
    assert str(twin) == str(module)
    assert [part.training for part in twin.modules()] == [False] * 3
    theirs = twin.state_dict(keep_vars=True)
    assert list(theirs) == list(module.state_dict())
    for name, one in module.state_dict(keep_vars=True).items():
        two = theirs[name]
        assert (type(one), one.requires_grad) == (type(two), two.requires_grad)
        assert torch.equal(one, two)
        assert one.data_ptr() != two.data_ptr()


def test_one_object_under_two_names_stays_one() -> None:
    """A part, a parameter, a buffer and an empty dictionary."""
    part, shared = torch.nn.BatchNorm1d(3), {}
    module = torch.nn.ModuleDict({"first": part, "second": part})
    module.tied = torch.nn.BatchNorm1d(3)
    module.tied.weight = part.weight
    module.register_buffer("again", part.running_mean)
    module.memory, module.same = shared, shared
    twin = other(module)
    assert twin["first"] is twin["second"]
    assert twin.tied.weight is twin["first"].weight
    assert twin.again is twin["first"].running_mean
    assert twin.memory is twin.same is not shared


def test_a_module_that_holds_itself() -> None:
    """Its copy holds the copy."""
    module = holding()
    module.__dict__["itself"] = module
    twin = other(module)
    assert twin is not module
    assert twin.itself is twin


@pytest.mark.parametrize("first", ["whole", "part"])
def test_buffers_that_share_memory_share_it(first: str) -> None:
    """Whichever is met first."""
    whole = torch.arange(6.0)
    named = {"whole": whole, "part": whole[2:4], "turned": whole.view(2, 3).T}
    twin = other(with_buffers(**{first: named[first], **named}))
    twin.part.fill_(7.0)
    assert twin.whole.tolist() == [0.0, 1.0, 7.0, 7.0, 4.0, 5.0]
    assert twin.turned[2, 0] == 7.0
    assert whole.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert twin.turned.stride() == (1, 3)


@pytest.mark.parametrize(
    "buffer",
    [
        torch.tensor(3),
        torch.empty(0),
        torch.ones(2, 3).T,
        torch.ones(1).expand(4),
        torch.ones(2, requires_grad=True),
        torch.ones(2, dtype=torch.complex64).conj(),
        torch.ones(2).to_sparse(),
        torch.empty(2, device="meta"),
    ],
    ids=str,
)
def test_any_tensor_is_copied_as_it_is(buffer: Any) -> None:
    """Its kind, values, strides and whether it requires a gradient."""
    module = with_buffers(one=buffer)
    found, expected = other(module).one, copy.deepcopy(module).one
    for known in (
        operator.attrgetter("shape"),
        operator.attrgetter("dtype"),
        operator.attrgetter("layout"),
        operator.attrgetter("device"),
        operator.attrgetter("requires_grad"),
        lambda tensor: tensor.stride() if tensor.layout is torch.strided else None,
        lambda tensor: "meta" if tensor.is_meta else tensor.to_dense().tolist(),
    ):
        assert known(found) == known(expected)


def test_what_a_tensor_carries_is_copied() -> None:
    """Attributes and a gradient."""
    marked, trained = torch.ones(2), torch.ones(2, requires_grad=True)
    marked.mark = ["kept"]
    trained.grad = torch.ones(2)
    twin = other(with_buffers(marked=marked, trained=trained))
    assert twin.marked.mark == ["kept"]
    assert twin.marked.mark is not marked.mark
    assert twin.trained.grad.tolist() == [1.0, 1.0]


def test_values_that_change_are_copied() -> None:
    """Lists, dictionaries in them, and containers of several kinds."""
    module = holding(
        seen=[1, {"a": [2]}],
        ordered=collections.OrderedDict(a=[1]),
        counts=collections.defaultdict(list, a=[1]),
        names={"a"},
        step=functools.partial(max, 3),
    )
    twin = other(module)
    assert (twin.seen, twin.ordered, twin.counts) == (module.seen, module.ordered, module.counts)
    assert type(twin.counts) is collections.defaultdict
    twin.seen[1]["a"].append(3)
    twin.ordered["a"].append(3)
    twin.names.add("b")
    assert (module.seen, module.ordered, module.names) == ([1, {"a": [2]}], {"a": [1]}, {"a"})


def test_hooks_belong_to_the_copy() -> None:
    """A hook that is a method of the module is that of its copy."""
    module = holding(calls=0)

    def count(self: Any, *_: object) -> None:
        self.calls += 1

    module.count = count.__get__(module)
    module.register_forward_hook(module.count)
    twin = other(module)
    twin(torch.ones(2, 3))
    assert (twin.calls, module.calls) == (1, 0)


def test_a_class_says_how_it_is_copied() -> None:
    """In each of the ways that Python knows."""
    says, loses = SaysHow(), LosesState()
    says.seen, loses.lost, loses.kept = [1], [1], [2]
    made = Made()
    before = Made.made
    twin = other(torch.nn.ModuleList([says, loses, made]))
    assert not hasattr(twin[0], "seen")
    assert (twin[1].kept, hasattr(twin[1], "lost")) == ([2], False)
    assert Made.made == before + 1


def test_a_graph_cannot_be_copied() -> None:
    """The error is PyTorch's own."""
    module = holding(held=torch.ones(2, requires_grad=True) * 2)
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        other(module)
