"""First and second derivatives of every kind, by numerical differentiation in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.autograd import gradcheck, gradgradcheck  # noqa: E402

from backnorm.errors import RangeError  # noqa: E402
from backnorm.testing.cases import ACTIVATIONS, LAYOUTS, MODES  # noqa: E402
from backnorm.torch import batch_norm  # noqa: E402
from with_torch.engine.tensors import MEMORY, VIEWS, drawn, leaves, tensor  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from with_torch.engine.tensors import Tensors

# PyTorch's own forward mode says so when it is first used.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")

SLOPE = 0.125

by_mode = pytest.mark.parametrize("mode", MODES)
by_memory = pytest.mark.parametrize("memory", MEMORY)
by_activation = pytest.mark.parametrize("activation", ACTIVATIONS)

Call = tuple["Callable[..., torch.Tensor]", list[torch.Tensor]]


def call_of(
    batch: Tensors, mode: str, *, affine: bool = True, residual: bool = False, **keywords: Any
) -> Call:
    """Return a function of the tensors that require a gradient, and these."""
    tensors = [batch.x]
    tensors += [batch.weight, batch.bias] if affine else []
    tensors += [batch.residual] if residual else []

    def function(x: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        given = dict(keywords)
        if affine:
            given["weight"], given["bias"] = others[:2]
        if residual:
            given["residual"] = others[-1]
        frozen = batch.frozen(mode)
        running = (frozen.pop("running_mean", None), frozen.pop("running_var", None))
        return batch_norm(x, *running, negative_slope=SLOPE, **given, **frozen)

    return function, leaves(*tensors)


def laid_out(memory: str) -> Tensors:
    """Draw a batch in one of MEMORY."""
    shape, memory_format = MEMORY[memory]
    layout = "contiguous" if memory_format is torch.contiguous_format else "channels last"
    return drawn(shape, layout=layout)


def assert_derivatives(function: Any, tensors: list[torch.Tensor], *, fast: bool) -> None:
    """Assert both orders, in reverse and forward mode, and batched."""
    assert gradcheck(
        function,
        tensors,
        fast_mode=fast,
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
    )
    assert gradgradcheck(
        function,
        tensors,
        fast_mode=fast,
        check_fwd_over_rev=True,
        check_batched_grad=True,
    )


@by_mode
@by_memory
@pytest.mark.parametrize("affine", [True, False])
def test_every_memory_format(mode: str, memory: str, *, affine: bool) -> None:
    """Each entry of the Jacobians, where the tensors are small enough; else random projections."""
    function, tensors = call_of(laid_out(memory), mode, affine=affine)
    assert_derivatives(function, tensors, fast=tensors[0].numel() > 40)


@by_mode
@by_activation
@pytest.mark.parametrize("memory", ["sequences", "channels last"])
@pytest.mark.parametrize("residual", [False, True])
def test_every_activation(mode: str, activation: str, memory: str, *, residual: bool) -> None:
    """Around values of y that are not where the activation bends."""
    batch = laid_out(memory)
    function, tensors = call_of(batch, mode, residual=residual, activation=activation)
    y = function(*tensors).detach()
    assert_derivatives(function, tensors, fast=True)
    if activation in ("relu", "relu6"):
        assert (y == 0.0).any()
    if activation == "relu6":
        assert 0.0 < y.max() <= 6.0


@by_mode
@pytest.mark.parametrize("layout", VIEWS)
def test_views(mode: str, layout: str) -> None:
    """x and dy lie anywhere: inside larger arrays, with strides, transposed, unaligned."""
    batch = drawn((3, 2, 2, 3))
    function, tensors = call_of(batch, mode, activation="leaky_relu")
    place = LAYOUTS[layout]
    x, *others = tensors
    there = leaves(tensor(place(x.detach().numpy())))[0]
    assert_derivatives(function, [there, *others], fast=True)
    dy = batch.dy
    want = torch.autograd.grad(function(*tensors), tensors, dy)
    got = torch.autograd.grad(function(there, *others), [there, *others], tensor(place(dy.numpy())))
    for ours, expected in zip(got, want, strict=True):
        torch.testing.assert_close(ours, expected)


@by_mode
@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_one_gradient_alone(mode: str, wanted: int) -> None:
    """Only x, only the weight or only the bias requires one."""
    function, tensors = call_of(laid_out("contiguous"), mode)
    for index, value in enumerate(tensors):
        value.requires_grad_(index == wanted)
    assert_derivatives(function, tensors, fast=True)
    gradient = torch.autograd.grad(function(*tensors).square().sum(), tensors[wanted])[0]
    assert gradient.abs().max() > 0.0


@pytest.mark.parametrize("through", ["mean", "variance", "none"])
def test_a_cut_gradient_has_no_further_derivative(through: str) -> None:
    """It is the derivative of nothing: forward mode and second derivatives are refused."""
    function, tensors = call_of(laid_out("contiguous"), "batch", through=through)
    y = function(*tensors)
    (dx,) = torch.autograd.grad(y.square().sum(), tensors[0], create_graph=True)
    with pytest.raises(RangeError, match="through must be 'both'"):
        torch.autograd.grad(dx.sum(), tensors[0])
    with pytest.raises(RangeError, match="through must be 'both'"):
        torch.func.jvp(function, tuple(tensors), tuple(map(torch.ones_like, tensors)))


def test_in_place_has_no_further_derivative() -> None:
    """x is gone, so create_graph is refused where it is asked for."""
    batch = drawn((4, 3, 2))
    x, weight, bias = leaves(batch.x, batch.weight, batch.bias)
    y = batch_norm(x.clone(), None, None, weight, bias, training=True, inplace=True)
    with pytest.raises(RangeError, match="inplace"):
        torch.autograd.grad(y.square().sum(), x, create_graph=True)
