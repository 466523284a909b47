"""torch.library.opcheck of both registered operators: schema, registration, fake tensors, AOT."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from backnorm.testing.cases import ACTIVATIONS, MODES, THROUGHS  # noqa: E402
from backnorm.torch.engine.schema import BACKWARD, FORWARD  # noqa: E402
from with_torch.engine.tensors import VIEWS, Tensors, drawn, leaves, needs_engine  # noqa: E402

pytestmark = needs_engine

SLOPE = 0.125

PLAIN: dict[str, Any] = {
    "layout": "contiguous",
    "shape": (3, 2, 4, 3),
    "dtype": "float32",
    "mode": "batch",
    "activation": "identity",
    "residual": False,
    "affine": True,
    "through": "both",
    "sums": "float64",
    "grad": True,
}

CASES: dict[str, dict[str, Any]] = {
    **{f"{layout}, {mode}": {"layout": layout, "mode": mode} for layout in VIEWS for mode in MODES},
    **{
        f"{activation}, {mode}": {"activation": activation, "mode": mode, "residual": True}
        for activation in ACTIVATIONS
        for mode in MODES
    },
    "exact sums": {"sums": "exact"},
    **{f"through {through}": {"through": through} for through in THROUGHS},
    **{dtype: {"dtype": dtype} for dtype in ("float64", "bfloat16", "float16")},
    "rows": {"shape": (5, 3)},
    "volumes, channels last": {"shape": (2, 3, 2, 2, 3), "layout": "channels last"},
    "not affine": {"affine": False},
    "not affine, frozen": {"affine": False, "mode": "frozen"},
    "nothing to differentiate": {"grad": False},
}

by_case = pytest.mark.parametrize("case", CASES)


def drawn_for(case: str) -> tuple[dict[str, Any], Tensors]:
    """Return all choices of a case and its tensors."""
    choices = PLAIN | CASES[case]
    return choices, drawn(choices["shape"], choices["dtype"], choices["layout"])


def parameters(choices: dict[str, Any], batch: Tensors) -> tuple[Any, ...]:
    """Return weight, bias, running_mean and running_var as the operator takes them."""
    affine = leaves(batch.weight, batch.bias) if choices["affine"] else [None, None]
    running = (batch.running_mean, batch.running_var)
    return (*affine, *(running if choices["mode"] == "frozen" else (None, None)))


def options(choices: dict[str, Any]) -> tuple[Any, ...]:
    """Return the options in the order of the schema."""
    return (
        choices["mode"] == "batch",
        1e-5,
        choices["activation"],
        SLOPE,
        choices["through"],
        choices["sums"],
    )


@pytest.mark.sampled(3)
@by_case
def test_the_forward_operator(case: str) -> None:
    """Every check of opcheck, those of AOT with shapes that may change included."""
    choices, batch = drawn_for(case)
    x, residual = leaves(batch.x, batch.residual)
    arguments = (
        x if choices["grad"] else batch.x,
        *parameters(choices, batch),
        residual if choices["residual"] else None,
        *options(choices),
    )
    assert_checked(FORWARD, arguments)


@pytest.mark.sampled(3)
@by_case
def test_the_backward_operator(case: str) -> None:
    """The same for the gradient, which is an operator with derivatives of its own."""
    choices, batch = drawn_for(case)
    weight, bias, *running = parameters(choices, batch)
    residual = batch.residual if choices["residual"] else None
    y, statistics = FORWARD(batch.x, weight, bias, *running, residual, *options(choices))
    dy, x = batch.dy, batch.x
    if choices["through"] != "both":
        # It has no further derivative: test_derivatives.py sees that refused.
        weight, bias = weight.detach(), bias.detach()
    elif choices["grad"]:
        dy, x = leaves(dy, x)
    out = None if choices["activation"] == "identity" else y.detach()
    wanted = [True, choices["affine"], choices["affine"], choices["residual"]]
    arguments = (dy, x, out, weight, bias, statistics, *options(choices), wanted)
    assert_checked(BACKWARD, arguments)


def assert_checked(operator: Any, arguments: tuple[Any, ...]) -> None:
    """Assert that each check of opcheck passes."""
    checks = (
        "test_schema",
        "test_autograd_registration",
        "test_faketensor",
        "test_aot_dispatch_dynamic",
    )
    found = torch.library.opcheck(operator, arguments, test_utils=checks)
    assert found == dict.fromkeys(checks, "SUCCESS")


@by_case
def test_strides_of_fake_tensors_are_those_of_real_ones(case: str) -> None:
    """For every layout: what a compiler is told of the outputs is what it gets."""
    choices, batch = drawn_for(case)
    weight, bias, *running = parameters(choices, batch)
    residual = batch.residual if choices["residual"] else None
    arguments = (batch.x, weight, bias, *running, residual, *options(choices))
    real = FORWARD(*arguments)
    with torch._subclasses.FakeTensorMode() as mode:
        fake = FORWARD(
            *(mode.from_tensor(a) if isinstance(a, torch.Tensor) else a for a in arguments)
        )
    for got, want in zip(fake, real, strict=True):
        assert (got.shape, got.dtype, got.stride()) == (want.shape, want.dtype, want.stride())


def test_parameters_of_any_strides() -> None:
    """The operator reads weight, bias and statistics where they lie."""
    batch = drawn((4, 3, 2))
    apart = [torch.stack([v, -v], 1)[:, 0] for v in (batch.weight, batch.bias)]
    running = [torch.stack([v, -v], 1)[:, 0] for v in (batch.running_mean, batch.running_var)]
    choices = PLAIN | {"mode": "frozen"}
    want = FORWARD(
        *(batch.x, batch.weight, batch.bias, batch.running_mean, batch.running_var),
        None,
        *options(choices),
    )
    got = FORWARD(batch.x, *apart, *running, None, *options(choices))
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
    wanted = [True, True, True, False]
    statistics = want[1]
    rows = torch.stack([statistics, -statistics], 2)[..., 0]
    want = BACKWARD(
        batch.dy, batch.x, None, batch.weight, batch.bias, statistics, *options(choices), wanted
    )
    got = BACKWARD(batch.dy, batch.x, None, *apart, rows, *options(choices), wanted)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
