"""sums="exact" of the PyTorch function and modules: the bits of the NumPy function, everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import backnorm as bn  # noqa: E402
from backnorm import torch as bt  # noqa: E402
from backnorm.errors import UnknownNameError  # noqa: E402
from backnorm.kernels.activations import NAMES  # noqa: E402

by_activation = pytest.mark.parametrize("activation", NAMES)
by_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)


def batch(dtype: torch.dtype, shape: tuple[int, ...] = (6, 5, 9, 4)) -> tuple[torch.Tensor, ...]:
    """Seeded x, weight, bias and dy."""
    rng = torch.Generator().manual_seed(3)
    x, dy = (torch.randn(shape, generator=rng, dtype=torch.float64).to(dtype) for _ in range(2))
    weight, bias = (torch.rand(shape[1], generator=rng, dtype=torch.float64) + 0.5 for _ in "12")
    return x, weight.to(dtype), bias.to(dtype), dy


def step(x: torch.Tensor, *others: torch.Tensor, call: Any = bt.batch_norm, **options: Any) -> Any:
    """Return y, dx, dweight and dbias of one step."""
    weight, bias, dy = others
    leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
    y = call(leaves[0], None, None, *leaves[1:], training=True, **options)
    return [y.detach(), *torch.autograd.grad(y, leaves, dy)]


def same(got: Any, want: Any) -> bool:
    """Whether all tensors are bitwise identical."""
    return all(
        a.contiguous().view(torch.uint8).equal(b.contiguous().view(torch.uint8))
        for a, b in zip(got, want, strict=True)
    )


@by_activation
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_results_are_those_of_numpy(activation: Any, dtype: torch.dtype) -> None:
    """The function has the bits of backnorm.batch_norm."""
    x, weight, bias, dy = batch(dtype)
    arrays = [t.numpy() for t in (x, weight, bias)]
    fwd = bn.batch_norm(*arrays, activation=activation, sums="exact", kernel="numpy")
    g = bn.batch_norm_backward(dy.numpy(), fwd, kernel="numpy")
    want = [torch.from_numpy(np.asarray(a)) for a in (fwd.y, g.dx, g.dgamma, g.dbeta)]
    assert same(step(x, weight, bias, dy, activation=activation, sums="exact"), want)


@by_dtype
@by_activation
def test_memory_formats_threads_and_compilation(dtype: torch.dtype, activation: Any) -> None:
    """Channels last, one thread and a compiled graph change no bit."""
    x, weight, bias, dy = batch(dtype, (24, 20, 14, 14))
    options: dict[str, Any] = {"activation": activation, "sums": "exact"}
    want = step(x, weight, bias, dy, **options)
    last = [t.to(memory_format=torch.channels_last) for t in (x, dy)]
    assert same(step(last[0], weight, bias, last[1], **options), want)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert same(step(x, weight, bias, dy, **options), want)
    finally:
        torch.set_num_threads(threads)


@by_activation
def test_compiled(activation: Any) -> None:
    """torch.compile calls the same operator."""
    x, weight, bias, dy = batch(torch.float32)
    options: dict[str, Any] = {"activation": activation, "sums": "exact"}
    compiled = torch.compile(bt.batch_norm, backend="aot_eager", fullgraph=True)
    got = step(x, weight, bias, dy, call=compiled, **options)
    assert same(got, step(x, weight, bias, dy, **options))


@pytest.mark.parametrize("activation", ["identity", "leaky_relu"])
def test_in_place(activation: Any) -> None:
    """The layouts agree in place too."""
    x, weight, bias, dy = batch(torch.float32)
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
        given = leaves[0].to(memory_format=memory_format) * 1.0
        options: dict[str, Any] = {"activation": activation, "sums": "exact", "inplace": True}
        y = bt.batch_norm(given, None, None, *leaves[1:], training=True, **options)
        arriving = dy.to(memory_format=memory_format)
        results.append([y.detach(), *torch.autograd.grad(y, leaves, arriving)])
    assert same(*results)


@pytest.mark.parametrize("cls", [bt.BatchNorm2d, bt.BatchNormAct2d])
def test_modules(cls: Any) -> None:
    """A module hands its law to the function, and names it."""
    x, _, _, dy = batch(torch.float32)
    layer, plain = cls(5, sums="exact"), cls(5)
    assert "sums=exact" in repr(layer)
    assert "sums" not in repr(plain)
    results = []
    for values, arriving in ((x, dy), (x.flip(0), dy.flip(0))):
        values = values.clone().requires_grad_()  # noqa: PLW2901
        y = layer(values)
        dx, dweight = torch.autograd.grad(y, [values, layer.weight], arriving)
        results.append((y, dx, dweight))
    (y, dx, dweight), (flipped, flipped_dx, again) = results
    assert same([flipped.flip(0), flipped_dx.flip(0), again], [y, dx, dweight])
    assert layer.state_dict().keys() == plain.state_dict().keys()


def test_unknown_law() -> None:
    """The function and the module name the laws that exist."""
    x = torch.ones(2, 1)
    with pytest.raises(UnknownNameError, match="sums must be one of 'float64', 'exact'"):
        bt.batch_norm(x, None, None, training=True, sums="float32")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="sums must be one of 'float64', 'exact'"):
        bt.BatchNorm1d(1, sums="float32")  # type: ignore[arg-type]
