"""Where tensors are made on another device unless said otherwise, as when a model is sketched."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import backnorm.torch as ours  # noqa: E402
from backnorm.testing.budget import assert_bits  # noqa: E402
from backnorm.torch.engine import kernels  # noqa: E402
from with_torch.engine.tensors import array, drawn, leaves, needs_engine  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHAPE = (4, 3, 5, 6)


@contextlib.contextmanager
def default_meta() -> Iterator[None]:
    """Make meta the default device, by the function."""
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)  # any device leaves a mode behind that listens to functions


@needs_engine
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_default_device_keeps_the_short_way(device: str) -> None:
    """y takes the memory of x, which the registered operators never do."""
    x, weight, bias = torch.randn(SHAPE), torch.ones(3), torch.zeros(3)
    with torch.device(device):
        y = ours.batch_norm(x, None, None, weight, bias, training=True, inplace=True)
    assert y.data_ptr() == x.data_ptr()


WAYS: dict[str, Callable[[], Any]] = {
    "set_default_device": default_meta,
    "with": lambda: torch.device("meta"),
}

by_way = pytest.mark.parametrize("way", WAYS)

MODULES: dict[str, Callable[[], torch.nn.Module]] = {
    "plain": lambda: ours.BatchNorm2d(3),
    "activation": lambda: ours.BatchNormAct2d(3, activation="relu6"),
    "in place": lambda: ours.BatchNormAct2d(3, activation="leaky_relu", inplace=True),
    "frozen": lambda: ours.FrozenBatchNorm2d(3),
}


@by_way
@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("training", [True, False])
def test_a_sketch(way: str, name: str, *, training: bool) -> None:
    """Parameters, outputs and gradients of a module made and called there have no values."""
    with WAYS[way]():
        layer = MODULES[name]().train(training)
        conv = torch.nn.Conv2d(3, 3, 1)
        x = torch.empty(SHAPE).to(memory_format=torch.channels_last).requires_grad_()
        y = layer(conv(x))
        y.sum().backward()
        stock = torch.nn.BatchNorm2d(3)(x)
    state = [*layer.parameters(), *layer.buffers(), y, x.grad, *(p.grad for p in conv.parameters())]
    assert all(value.is_meta for value in state)
    assert (y.shape, x.grad.shape) == (SHAPE, SHAPE)
    assert layer(x * 1.0).stride() == stock.stride()


@by_way
def test_a_sketch_gets_its_values(way: str) -> None:
    """A module that was made there works once it has memory and a checkpoint."""
    with WAYS[way]():
        layer = ours.BatchNorm2d(3)
    want = torch.nn.BatchNorm2d(3)
    layer.to_empty(device="cpu").load_state_dict(want.state_dict(), strict=True)
    x = drawn(SHAPE, "float32").x
    torch.testing.assert_close(layer(x), want(x))


@needs_engine
@by_way
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("keywords", [{}, {"activation": "relu"}, {"inplace": True}], ids=str)
def test_tensors_with_values_keep_their_device(
    way: str, keywords: Any, monkeypatch: pytest.MonkeyPatch, *, large: bool
) -> None:
    """What lies on the CPU is normalized there, forward and backward, with the same bits."""
    if large:
        monkeypatch.setattr(kernels, "LARGE", 1)
    given = drawn(SHAPE)

    def gradients() -> list[torch.Tensor]:
        x, weight, bias = leaves(given.x, given.weight, given.bias)
        mean, var = given.running_mean.clone(), given.running_var.clone()
        y = ours.batch_norm(x * 1.0, mean, var, weight, bias, training=True, **keywords)
        out = y.detach().clone()
        y.backward(given.dy)
        assert x.grad is not None
        return [out, x.grad, weight.grad, bias.grad, mean, var]

    want = gradients()
    with WAYS[way]():
        got = gradients()
    for one, other in zip(got, want, strict=True):
        assert one.device.type == "cpu"
        if keywords != {"inplace": True}:
            assert_bits(array(one), array(other))
        else:  # the operator works out of place, from x
            torch.testing.assert_close(one, other)


@needs_engine
def test_the_package_is_imported_there() -> None:
    """What it makes at import is made where it is needed."""
    code = (
        "import torch; torch.set_default_device('meta'); from backnorm.torch import batch_norm;"
        "x = torch.tensor([[1.0], [3.0]], device='cpu'); torch.set_default_device('cpu');"
        "y = batch_norm(x, None, None, training=True, eps=1e-12); print(y.tolist())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[[-1.0], [1.0]]\n"
