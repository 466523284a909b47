"""Of a large output without a residual the backward reads nothing: it makes it again from x."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from backnorm.testing.cases import ACTIVATIONS  # noqa: E402
from backnorm.torch import batch_norm  # noqa: E402
from backnorm.torch.engine import kernels  # noqa: E402
from with_torch.engine.tensors import needs_engine  # noqa: E402

pytestmark = needs_engine

NCHW, NHWC = torch.contiguous_format, torch.channels_last
LARGE = {
    # name: (shape, layout); each is past the 4 MiB from which on it pays, with ends of all lengths
    "few channels": ((3, 7, 229, 231), NCHW),
    "planes": ((6, 37, 73, 67), NCHW),
    "small planes": ((2100, 19, 6, 5), NCHW),
    "channels last": ((3, 37, 101, 97), NHWC),
    "many channels last": ((2, 1100, 23, 21), NHWC),
    "two axes": ((8195, 131), NCHW),
}
WANTED = (True, True, True, False)


def drawn(name: str, dtype: Any) -> tuple[Any, ...]:
    """Return x, dy, weight and bias."""
    shape, layout = LARGE[name]
    torch.manual_seed(3)
    x, dy = (torch.randn(shape, dtype=dtype).contiguous(memory_format=layout) for _ in range(2))
    return x * 2 + 3, dy, torch.randn(shape[1], dtype=dtype), torch.randn(shape[1], dtype=dtype)


def both(
    given: tuple[Any, ...], activation: Any, *, training: bool = True, through: Any = "both"
) -> tuple[Any, Any]:
    """Return the gradients with the output read, and with an output that must not be read."""
    x, dy, weight, bias = given
    c = x.shape[1]
    running = (None, None) if training else (torch.randn(c).to(x), torch.rand(c).to(x) + 0.5)
    options = kernels.CallOptions(training, 0.1, 1e-5, activation, 0.125, through)
    y, statistics = kernels.forward(x, weight, bias, *running, None, options)
    read = kernels.backward(dy, x, y, weight, bias, statistics, options, WANTED)
    y.fill_(-1.0)  # no activation lets dy through as it is
    made = kernels.backward(dy, x, y, weight, bias, statistics, options, WANTED, recomputable=True)
    return read[:3], made[:3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", sorted({*ACTIVATIONS} - {"identity"}))
@pytest.mark.parametrize("name", LARGE)
def test_the_bits_are_those_of_the_output_read(name: str, activation: str, dtype: Any) -> None:
    """In every layout, with the output destroyed."""
    read, made = both(drawn(name, dtype), activation)
    assert all(map(torch.equal, read, made))


@pytest.mark.parametrize("name", ["planes", "channels last"])
@pytest.mark.parametrize("how", [{"training": False}, {"through": "none"}, {"through": "mean"}])
def test_in_every_mode(name: str, how: dict[str, Any]) -> None:
    """Frozen statistics, and gradients that leave something out."""
    read, made = both(drawn(name, torch.float32), "relu", **how)
    assert all(map(torch.equal, read, made))


@pytest.mark.parametrize("name", ["planes", "channels last"])
@pytest.mark.parametrize("threads", [1, 2])
def test_where_a_channel_is_extreme_the_output_is_read(name: str, threads: int) -> None:
    """Its output was not computed in float32, and cannot be made again there."""
    x, dy, weight, bias = drawn(name, torch.float32)
    weight[1] = 1e38
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        read, made = both((x, dy, weight, bias), "relu")
    finally:
        torch.set_num_threads(before)
    assert float(made[2].abs().max()) == 0 < float(read[2].abs().max())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_formats_read_it(dtype: Any) -> None:
    """Their rounding may take a value to a corner of the activation."""
    read, made = both(drawn("planes", dtype), "relu")
    assert float(made[2].abs().max()) == 0 < float(read[2].abs().max())


@pytest.mark.parametrize("name", ["planes", "channels last"])
def test_through_autograd(name: str) -> None:
    """The same gradient with a residual of zeros, for which the output is read, as without any."""
    x, dy, weight, bias = drawn(name, torch.float32)
    found = []
    for residual in (None, torch.zeros_like(x)):
        leaf = x.clone().requires_grad_()
        y = batch_norm(
            leaf, None, None, weight, bias, training=True, activation="relu", residual=residual
        )
        y.backward(dy)
        found.append(leaf.grad)
    assert torch.equal(found[0], found[1])
    assert float(found[0].abs().max()) > 0
