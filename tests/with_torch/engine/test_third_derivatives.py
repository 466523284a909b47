"""Third derivatives and mixed transforms, beside a composition of plain operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp  # noqa: E402

from backnorm.testing.cases import ACTIVATIONS, MODES  # noqa: E402
from backnorm.torch import batch_norm  # noqa: E402
from with_torch.engine.tensors import (  # noqa: E402
    act,
    assert_like,
    composed,
    drawn,
    leaves,
    needs_engine,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# PyTorch's own forward mode says so when it is first used.
pytestmark = [
    needs_engine,
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),
]

SLOPE = 0.125
SHAPE = (4, 2, 3)

by_mode = pytest.mark.parametrize("mode", MODES)
by_activation = pytest.mark.parametrize("activation", ACTIVATIONS)

Pair = tuple["Callable[..., torch.Tensor]", "Callable[..., torch.Tensor]"]


def pair(mode: str, activation: str) -> tuple[Pair, list[torch.Tensor]]:
    """Return ours and the composition as functions of x, weight and bias, each a number."""
    batch = drawn(SHAPE, offset=0.5)
    frozen = mode == "frozen"
    running = (batch.running_mean, batch.running_var) if frozen else (None, None)
    factor = torch.linspace(0.5, 1.5, batch.x.numel(), dtype=torch.float64).view(SHAPE)

    def ours(x: Any, weight: Any, bias: Any) -> torch.Tensor:
        y = batch_norm(
            x,
            *running,
            weight,
            bias,
            training=not frozen,
            activation=activation,
            negative_slope=SLOPE,
        )
        return (factor * y**3).sum()

    def plain(x: Any, weight: Any, bias: Any) -> torch.Tensor:
        return (factor * act(composed(x, weight, bias, *running), activation, SLOPE) ** 3).sum()

    return (ours, plain), [batch.x, batch.weight, batch.bias]


@by_mode
@by_activation
def test_third_derivatives_in_reverse(mode: str, activation: str) -> None:
    """Reverse three times, with respect to x, weight and bias."""
    functions, tensors = pair(mode, activation)
    found = []
    for function in functions:
        inputs = leaves(*tensors)
        value = function(*inputs)
        for _ in range(3):
            gradients = torch.autograd.grad(
                value, inputs, create_graph=True, materialize_grads=True
            )
            value = sum(
                (g * torch.linspace(-1, 1, g.numel(), dtype=g.dtype).view(g.shape)).sum()
                for g in gradients
            )
        found.append(gradients)
    for got, want in zip(*found, strict=True):
        assert want.abs().max() > 0.0 or mode == "frozen"
        assert_like(got.detach(), want.detach())


ORDERS: dict[str, Any] = {
    "jacrev": jacrev,
    "jacfwd": jacfwd,
    "hessian": hessian,
    "forward over forward": lambda f: jacfwd(jacfwd(f)),
    "reverse over forward": lambda f: jacrev(jacfwd(f)),
    "reverse over reverse": lambda f: jacrev(jacrev(f)),
    "reverse over hessian": lambda f: jacrev(hessian(f)),
    "forward over hessian": lambda f: jacfwd(hessian(f)),
    "gradient of gradient": lambda f: jacfwd(grad(lambda z: grad(f)(z).square().sum())),
}


@by_mode
@pytest.mark.parametrize("order", ORDERS)
def test_transforms_of_transforms(mode: str, order: str) -> None:
    """First to third derivatives by torch.func in every mixture, with leaky_relu."""
    functions, (x, weight, bias) = pair(mode, "leaky_relu")
    got, want = (ORDERS[order](lambda z, f=f: f(z, weight, bias))(x) for f in functions)
    assert_like(got, want)


@by_mode
@pytest.mark.parametrize("order", ["hessian", "forward over forward", "reverse over reverse"])
@pytest.mark.parametrize("which", ["weight", "bias"])
def test_transforms_with_respect_to_parameters(mode: str, order: str, which: str) -> None:
    """The same for weight and bias."""
    functions, (x, weight, bias) = pair(mode, "relu")
    at = weight if which == "weight" else bias

    def of(function: Any) -> Any:
        if which == "weight":
            return lambda value: function(x, value, bias)
        return lambda value: function(x, weight, value)

    got, want = (ORDERS[order](of(function))(at) for function in functions)
    assert_like(got, want)


@by_mode
@by_activation
def test_vjp_and_jvp(mode: str, activation: str) -> None:
    """Products with the Jacobian from both sides, all three inputs moving."""
    functions, tensors = pair(mode, activation)
    steps = tuple(torch.ones_like(value) for value in tensors)
    (ours, our_step), (plain, step) = (jvp(f, tuple(tensors), steps) for f in functions)
    assert_like(ours, plain)
    assert_like(our_step, step)
    for got, want in zip(
        *(vjp(f, *tensors)[1](torch.ones_like(ours)) for f in functions), strict=True
    ):
        assert_like(got, want)
