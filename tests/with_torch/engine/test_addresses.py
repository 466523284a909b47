"""Tensors at addresses that no dtype asks for: one byte after an aligned one."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from backnorm.testing.cases import ACTIVATIONS, DTYPES, MODES  # noqa: E402
from backnorm.torch import batch_norm  # noqa: E402
from with_torch.engine.tensors import Tensors, drawn, leaves, needs_engine  # noqa: E402

pytestmark = needs_engine

NAMES = tuple(field.name for field in fields(Tensors))

by_dtype = pytest.mark.parametrize("dtype", DTYPES)
by_layout = pytest.mark.parametrize("layout", ["contiguous", "channels last"])


def unaligned(value: torch.Tensor) -> torch.Tensor:
    """Return a copy one byte after an aligned address, with the same strides."""
    memory = bytearray(value.nbytes + 1)
    flat = torch.frombuffer(memory, dtype=value.dtype, offset=1)
    assert flat.data_ptr() % value.element_size()
    return flat.as_strided(value.shape, value.stride()).copy_(value)


def results(given: Tensors, mode: str, activation: str) -> list[torch.Tensor]:
    """Return y, the four gradients and the running statistics."""
    inputs = leaves(given.x, given.weight, given.bias, given.residual)
    x, weight, bias, residual = inputs
    running = given.running_mean.clone(), given.running_var.clone()
    if given.running_mean.data_ptr() % given.running_mean.element_size():
        running = unaligned(running[0]), unaligned(running[1])
    options = {"training": mode == "batch", "activation": activation, "residual": residual}
    y = batch_norm(x, *running, weight, bias, **options)
    return [y, *torch.autograd.grad(y, inputs, given.dy), *running]


@by_dtype
@by_layout
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [*NAMES, "all"])
def test_the_bits_do_not_depend_on_it(name: str, mode: str, layout: str, dtype: str) -> None:
    """Each tensor in turn, and all of them."""
    given = drawn((4, 3, 5, 6), dtype, layout)
    moved = NAMES if name == "all" else (name,)
    if name.startswith("running"):
        moved = ("running_mean", "running_var")
    odd = replace(given, **{each: unaligned(getattr(given, each)) for each in moved})
    for activation in ACTIVATIONS:
        want, got = (results(each, mode, activation) for each in (given, odd))
        assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@by_dtype
@by_layout
def test_y_does_not_take_such_memory(layout: str, dtype: str) -> None:
    """In place x stays what it is: the kernels write past the cache, to whole lines."""
    given = drawn((4, 2, 600, 600), dtype, layout) if dtype == "float32" else drawn((4, 3), dtype)
    weight = torch.ones_like(given.weight)
    x = unaligned(given.x)
    y = batch_norm(x, None, None, weight, training=True, inplace=True)
    assert y.data_ptr() != x.data_ptr()
    assert torch.equal(x, given.x)
    assert torch.equal(y, batch_norm(given.x, None, None, weight, training=True))
