"""Forwards as people write them: what is fused, and that nothing else is computed."""

from __future__ import annotations

import pickle
import traceback
from copy import deepcopy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402

from backnorm.torch import conversion_report, convert, revert  # noqa: E402
from with_torch.conversion.forwards import FORWARDS, Layers, Steps, side  # noqa: E402
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
