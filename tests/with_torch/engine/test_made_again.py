"""Where the output is large or was not kept, the backward makes it again from x."""

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
    options = kernels.CallOptions(training, 0.1, 1e-5, activation, 0.125, through, "float64")
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


WRITABLE = [name for name in ACTIVATIONS if name in ("relu6", "leaky_relu")]
SMALL = {
    "two axes": ((9, 5), NCHW),
    "planes": ((3, 5, 4, 7), NCHW),
    "large planes": ((2, 4, 13, 17), NCHW),
    "channels last": ((3, 5, 4, 7), NHWC),
}


def trained(
    x: torch.Tensor,
    options: dict[str, Any],
    parameters: tuple[Any, ...],
    *,
    written: tuple[str, ...] = (),
    training: bool = True,
) -> tuple[torch.Tensor, ...]:
    """Return the gradients of x and the parameters; y and the bias may be written to before."""
    leaves = [x.clone().requires_grad_(), *(p.clone().requires_grad_() for p in parameters)]
    running = torch.full_like(parameters[0], 0.25), torch.full_like(parameters[0], 1.5)
    y = batch_norm(leaves[0], *running, *leaves[1:], training=training, **options)
    dy = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    if "y" in written:
        y.detach().fill_(-1.0)
    if "bias" in written:
        with torch.no_grad():
            leaves[2].add_(5.0)
    return torch.autograd.grad(y, leaves, dy)


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("activation", WRITABLE)
@pytest.mark.parametrize("name", SMALL)
def test_an_output_that_pytorch_does_not_keep_may_be_written_to(
    name: str, activation: str, dtype: Any, *, training: bool, extreme: bool
) -> None:
    """So may the bias. A channel that is computed in float64 gives the same too."""
    torch.manual_seed(1)
    shape, layout = SMALL[name]
    x = torch.randn(shape, dtype=dtype).contiguous(memory_format=layout)
    weight, bias = torch.randn(2, shape[1], dtype=dtype)
    if extreme:
        weight[1] = torch.finfo(dtype).max / 4
    given = x, {"activation": activation, "negative_slope": 0.25}, (weight, bias)
    want = trained(*given, training=training)
    got = trained(*given, written=("y", "bias"), training=training)
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(want, got, strict=True))
    read = trained(
        x, {**given[1], "residual": torch.zeros_like(x)}, (weight, bias), training=training
    )
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(want, read, strict=True))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(3, 5, 4, 7), (16, 5, 120, 120)], ids=["small", "recomputed"])
def test_the_bias_may_be_changed_before_backward(activation: str, shape: Any) -> None:
    """PyTorch's layers do not keep it."""
    torch.manual_seed(1)
    x, (weight, bias) = torch.randn(shape), torch.randn(2, shape[1])
    want, got = (
        trained(x, {"activation": activation}, (weight, bias), written=written)
        for written in ((), ("bias",))
    )
    assert all(map(torch.equal, want, got))


@pytest.mark.parametrize("activation", WRITABLE)
def test_further_derivatives_of_an_output_that_is_not_kept(activation: str) -> None:
    """They are computed from the output, which is made again."""
    torch.manual_seed(1)
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    weight, bias = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    running = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    for training in (True, False):

        def loss(*leaves: torch.Tensor, training: bool = training) -> torch.Tensor:
            y = batch_norm(
                leaves[0], *running, *leaves[1:], training=training, activation=activation
            )
            return y.sin()

        assert torch.autograd.gradcheck(loss, (x, weight, bias))
        assert torch.autograd.gradgradcheck(loss, (x, weight, bias))


@pytest.mark.parametrize("activation", ["relu", *WRITABLE])
def test_a_further_derivative_by_the_bias_is_zero_and_not_missing(activation: str) -> None:
    """As that of PyTorch: an activation depends on it, its slope does not."""
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    weight, bias = (torch.rand(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    y = batch_norm(x, None, None, weight, bias, training=True, activation=activation)
    (dx,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(dx.square().sum(), bias)
    assert torch.equal(second, torch.zeros_like(bias))
