"""Forwards as people write them: what is fused, and that nothing else is computed."""

from __future__ import annotations

import importlib
import pickle
import traceback
from copy import deepcopy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402

from backnorm.torch import conversion_report, convert, revert  # noqa: E402
from with_torch.conversion.forwards import (  # noqa: E402
    FORWARDS,
    Counting,
    Layers,
    SharedBuffer,
    Steps,
    side,
)
from with_torch.conversion.models import assert_close, built, drawn  # noqa: E402

SHAPE = (2, 3, 4, 6)


def results(model: nn.Module, *, training: bool) -> dict[str, torch.Tensor]:
    """Return outputs, gradients and buffers after calls with gradients and without.

    Where a forward writes to what autograd keeps, its error takes the place of the gradients.
    """
    model.train(training)
    model.zero_grad()
    found = {}
    with torch.no_grad():
        found["y"] = model(drawn(SHAPE, 0))
    for seed in range(2):
        x = drawn(SHAPE, seed).requires_grad_()
        y = model(x * 1)
        assert type(y) is torch.Tensor
        found[f"y{seed}"] = y.detach()
        if y.requires_grad:
            weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
            try:
                (y.sin() * weights).sum().backward()
            except RuntimeError:
                found[f"error{seed}"] = torch.ones(())
            found[f"dx{seed}"] = torch.zeros(()) if x.grad is None else x.grad
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {**found, **gradients, **{k: v.clone() for k, v in model.named_buffers()}}


@pytest.mark.parametrize("name", FORWARDS)
def test_it_computes_the_same(name: str) -> None:
    """In training and in evaluation; and so does a copy."""
    build, fused, why = FORWARDS[name]
    want, got = built(build), convert(built(build))
    entries = [e for e in conversion_report(got).entries if not e.name.startswith("side")]
    assert [entry.fused for entry in entries] == fused, str(conversion_report(got))
    assert any(why in entry.why for entry in entries)
    for model in (got, deepcopy(got), pickle.loads(pickle.dumps(got))):  # noqa: S301 - ours
        stock = deepcopy(want)
        for training in (True, False):
            assert_close(results(model, training=training), results(stock, training=training))
    assert revert(got) > 0
    assert [type(m) for m in got.modules()] == [type(m) for m in want.modules()]


def test_consumers_are_not_fused_with_what_they_read() -> None:
    """An activation inside of a larger statement is left to PyTorch."""
    build, *_ = FORWARDS["consumed"]
    got = convert(built(build))
    assert conversion_report(got).fused == 0


def swap(block: Any) -> None:
    """Have the shortcut write to its input."""
    block.side = nn.Sequential(nn.ELU(inplace=True))


def hook(block: Any) -> None:
    """Have the shortcut's layer heard."""

    def double(*_: Any) -> None:
        block.norm.weight.data.mul_(2.0)

    block.side[1].register_forward_hook(double)


def unset(block: Any) -> None:
    """Give an activation to where None was."""
    block.none = nn.Tanh()


def by_function(block: Any) -> None:
    """Replace the activation by a function."""
    block._modules.pop("act")
    block.act = torch.sigmoid


def none_norm(block: Any) -> None:
    """Replace the normalization by a function."""
    block._modules.pop("norm")
    block.norm = torch.tanh


@pytest.mark.parametrize("change", [swap, hook, unset, by_function, none_norm])
def test_what_is_changed_later_counts(change: Any) -> None:
    """Each call looks at the layers as they are."""
    want, got = (built(lambda: Steps(side())) for _ in range(2))
    convert(got)
    for block in (want, got):
        change(block)
    for training in (True, False):
        assert_close(results(got, training=training), results(want, training=training))


def test_normalizations_with_a_buffer_in_common() -> None:
    """The order in which they update it counts."""
    want, got = built(SharedBuffer), built(SharedBuffer)
    for model in (want, got):
        model.norm2.momentum, model.norm2.running_mean = 0.5, model.norm.running_mean
    convert(got)
    assert_close(results(got, training=True), results(want, training=True))


def test_a_function_mode_sees_every_call() -> None:
    """What listens to PyTorch's functions hears the activation."""

    class Listening(TorchFunctionMode):
        def __init__(self) -> None:
            self.heard: list[str] = []

        def __torch_function__(self, func: Any, _: Any, args: Any = (), kw: Any = None) -> Any:
            self.heard.append(func.__name__)
            return func(*args, **(kw or {}))

    model = convert(built(Steps))
    with Listening() as mode:
        model(drawn(SHAPE, 0))
    assert "relu" in mode.heard


def test_a_default_device_does_not_hinder() -> None:
    """It is a mode too, but no call here depends on it."""
    model = convert(built(Steps))
    with torch.device("cpu"):
        y = model(drawn(SHAPE, 0))
    assert "Relu" not in type(y.grad_fn).__name__


class Wrong(Layers):
    """It raises an error after a normalization."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.act(self.norm(x))
        raise ValueError(y.shape)


def test_errors_name_the_lines_of_the_source() -> None:
    """A traceback shows the forward as it was written."""
    model = convert(built(Wrong))
    try:
        model(drawn(SHAPE, 0))
    except ValueError as error:
        frames = traceback.extract_tb(error.__traceback__)
        assert frames[-1].line == "raise ValueError(y.shape)"
        assert frames[-1].name == "forward"
    else:
        pytest.fail("nothing was raised")


def test_a_source_that_cannot_be_found() -> None:
    """The layer is converted, and the report says why it is not fused."""
    found: dict[str, Any] = {"Layers": Layers, "__name__": __name__}
    text = "class Made(Layers):\n    def forward(self, x): return self.act(self.norm(x))\n"
    exec(text, found)  # noqa: S102
    want, got = built(found["Made"]), convert(built(found["Made"]))
    entry = conversion_report(got).entries[0]
    assert (entry.fused, entry.why) == ("", "Made: the source of its forward was not found")
    assert_close(results(got, training=True), results(want, training=True))


def replaced(new: Any) -> Any:
    """Return a change of the class."""
    return lambda patch, cls: patch.setattr(cls, "forward", new)


PATCHES = {
    "a function": replaced(lambda _, x: x * 3),
    "a static method": replaced(staticmethod(lambda x: x * 3)),
    "a property": replaced(property(lambda self: lambda x: x * float(self.flag))),
    "its code": lambda patch, cls: patch.setattr(
        cls.forward, "__code__", (lambda _, x: x * 3).__code__
    ),
    "its defaults": lambda patch, cls: patch.setattr(cls.forward, "__defaults__", ([1.0],)),
}


@pytest.mark.parametrize("name", PATCHES)
def test_methods_that_are_replaced_count(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever takes their place; also if the model is converted anew."""
    cls: Any = Counting if name == "its defaults" else Steps
    want, got = built(cls), convert(built(cls))
    assert conversion_report(got).fused == 1
    PATCHES[name](monkeypatch, cls)
    for model in (got, convert(got)):
        outputs = [m(drawn(SHAPE, 0).requires_grad_()) for m in (deepcopy(want), deepcopy(model))]
        assert_close({"y": outputs[1]}, {"y": outputs[0]})


def test_modules_of_one_class_stay_of_one_class() -> None:
    """Whatever their layers are."""
    model = convert(nn.Sequential(built(Steps), built(lambda: Steps(side()))))
    assert type(model[0]) is type(model[1])
    assert conversion_report(model).fused == 2


def test_a_subclass_of_the_generated_class() -> None:
    """Tools that shard make one; it is copied as itself."""
    model = convert(built(Steps))
    model.__class__ = type("Sharded", (type(model),), {})
    assert type(deepcopy(model)) is type(model)


def test_a_sum_has_the_strides_of_its_first_operand() -> None:
    """If the residual has other strides, PyTorch adds it."""

    class First(Layers):
        def forward(self, r: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return self.act(r + self.norm(x))  # type: ignore[no-any-return]

    want, got = built(First), convert(built(First))
    x = drawn(SHAPE, 0).contiguous(memory_format=torch.channels_last)
    for r in (drawn(SHAPE, 1), x * 2, drawn(SHAPE, 1).transpose(2, 3).contiguous().transpose(2, 3)):
        outputs = [model(r, x) for model in (want, got)]
        assert outputs[0].stride() == outputs[1].stride()
        assert_close({"y": outputs[1]}, {"y": outputs[0]})


def test_vmap_over_the_residual_alone() -> None:
    """It works as for stock: the statistics do not depend on it."""

    class Residual(Layers):
        def forward(self, x: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
            return self.act(self.norm(x) + r)  # type: ignore[no-any-return]

    want, got = built(Residual), convert(built(Residual))
    x, r = drawn(SHAPE, 0), drawn((5, *SHAPE), 1)
    outputs = [torch.vmap(lambda r, model=model: model(x, r))(r) for model in (want, got)]
    assert_close({"y": outputs[1]}, {"y": outputs[0]})


def test_expressions_that_are_nested_deeply(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not fused, or they are; a conversion does not fail."""
    terms = " + ".join(["y"] * 900)
    (tmp_path / "long_sum.py").write_text(
        "from with_torch.conversion.forwards import Layers\n\n\nclass Long(Layers):\n"
        f"    def forward(self, x):\n        y = self.act(self.norm(x))\n        return {terms}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    cls = importlib.import_module("long_sum").Long
    want, got = built(cls), convert(built(cls))
    assert_close({"y": got(drawn(SHAPE, 0))}, {"y": want(drawn(SHAPE, 0))})


def test_a_file_that_was_edited_since(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its source is not what runs, also if only the reach of a try block differs."""
    text = """
from with_torch.conversion.forwards import Layers


class Edited(Layers):
    def forward(self, x):
        try:
            y = self.act(self.norm(x))
            z = self.none(y)
        except TypeError:
            z = y
        return z
"""
    file = tmp_path / "edited_later.py"
    file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    cls = importlib.import_module("edited_later").Edited
    file.write_text(
        text.replace("            z = self.none(y)\n", "").replace(
            "        return", "        else:\n            z = self.none(y)\n        return"
        )
    )
    got = convert(built(cls))
    assert "its source: it is decorated, or was changed" in conversion_report(got).entries[0].why
    assert_close({"y": got(drawn(SHAPE, 0))}, {"y": built(cls)(drawn(SHAPE, 0))})


def test_sequentials_that_no_subclass_can_replace() -> None:
    """Their layers are converted and not fused."""

    class Registered(nn.Sequential):
        def __init_subclass__(cls, *, key: str) -> None:
            super().__init_subclass__()

    model = convert(Registered(nn.BatchNorm2d(3), nn.ReLU()))
    entry = conversion_report(model).entries[0]
    assert (entry.fused, entry.why) == ("", "Registered: its class registers its subclasses")


class Writing(nn.Sequential):
    """Its call writes to its input, before its forward."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return super().__call__(x.mul_(2.0))  # type: ignore[no-any-return]


def test_a_child_that_defines_its_call() -> None:
    """It may do anything before the sum."""
    want, got = (built(lambda: Steps(Writing(nn.Conv2d(3, 3, 1)))) for _ in "ab")
    convert(got)
    with torch.no_grad():
        assert_close({"y": got(drawn(SHAPE, 0))}, {"y": want(drawn(SHAPE, 0))})


@pytest.mark.parametrize("place", ["nn.Module.__call__", "nn.ReLU.forward", "functional.relu"])
def test_code_of_pytorch_that_is_replaced(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profiler may do that: then each layer is called by itself."""
    seen: list[str] = []
    owner, _, name = place.rpartition(".")
    target = {"nn.Module": nn.Module, "nn.ReLU": nn.ReLU, "functional": nn.functional}[owner]
    before: Any = getattr(target, name)

    def noting(*arguments: Any, **keywords: Any) -> Any:
        seen.append(type(arguments[0]).__name__)
        return before(*arguments, **keywords)

    model = convert(built(Steps))
    monkeypatch.setattr(target, name, noting)
    model(drawn(SHAPE, 0))
    assert {"nn.Module.__call__": "BatchNorm2d", "nn.ReLU.forward": "ReLU"}.get(
        place, "Tensor"
    ) in seen


def test_one_of_two_modules_lacks_an_activation() -> None:
    """What one of a class has and the other has not is looked up at each call."""

    class Optional(Layers):
        def __init__(self, *, acts: bool) -> None:
            super().__init__()
            if not acts:
                del self.act

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if hasattr(self, "act"):
                return self.act(self.norm(x))  # type: ignore[no-any-return]
            return self.norm(x)  # type: ignore[no-any-return]

    want, got = (
        built(lambda: nn.Sequential(Optional(acts=True), Optional(acts=False))) for _ in "ab"
    )
    assert conversion_report(convert(got)).fused == 1
    assert_close(results(got, training=True), results(want, training=True))


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 3, 1, 1)], ids=["axes", "one value"])
def test_what_a_normalization_refuses_is_refused_at_once(shape: tuple[int, ...]) -> None:
    """Not after the shortcut, which would have counted a batch."""

    class Refusing(Layers):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.norm(x)
            r = self.side(x)  # type: ignore[misc]
            return self.act(y + r)  # type: ignore[no-any-return]

    model = convert(built(lambda: Refusing(nn.BatchNorm2d(3))))
    with pytest.raises(ValueError, match=r"[Ee]xpected"):
        model(drawn(shape, 0))
    assert model.side.num_batches_tracked == 0  # type: ignore[union-attr]
