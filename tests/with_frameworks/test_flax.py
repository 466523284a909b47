"""The dialect flax beside the installed Flax: linen and nnx."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed; make test-frameworks has it")
flax = pytest.importorskip("flax", reason="Flax is not installed; make test-frameworks has it")

import jax.numpy as jnp  # noqa: E402
from flax import linen, nnx  # noqa: E402

import backnorm as bn  # noqa: E402
from backnorm.testing.budget import FRAMEWORK_PARTS, parts  # noqa: E402
from with_frameworks.steps import C, assert_same_steps, parameters  # noqa: E402

START = {"scale": 1.0, "bias": 1.0, "mean": 1.0, "var": 1.0}
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "epsilon and momentum": {"epsilon": 1e-3, "momentum": 0.7},
    "two passes": {"use_fast_variance": False},
    "no scale": {"use_scale": False},
    "no bias": {"use_bias": False},
}


@pytest.fixture(autouse=True)
def _double_precision() -> Any:
    """float64 where it is asked for; JAX has it off by default."""
    with jax.enable_x64(new_val=True):
        yield


def start(dtype: str, options: dict[str, Any]) -> dict[str, Any]:
    """A state to start from."""
    found = {name: value.astype(dtype) for name, value in parameters(START).items()}
    for name in ("scale", "bias"):
        if not options.get(f"use_{name}", True):
            del found[name]
    return found


class Linen:
    """flax.linen.BatchNorm."""

    def __init__(self, state: dict[str, Any], options: dict[str, Any]) -> None:
        self.module = linen.BatchNorm(**options)
        self.arrays = {name: jnp.asarray(value) for name, value in state.items()}

    def state(self) -> dict[str, Any]:
        """Give parameters and batch_stats together."""
        return {name: np.asarray(value) for name, value in self.arrays.items()}

    def step(self, x: Any, dy: Any, *, training: bool) -> dict[str, Any]:
        """Run forward, and JAX's own derivative of it."""
        trained = {k: v for k, v in self.arrays.items() if k in ("scale", "bias")}
        kept = {k: v for k, v in self.arrays.items() if k not in trained}

        def run(x: Any, trained: Any) -> Any:
            variables = {"params": trained, "batch_stats": kept}
            return self.module.apply(
                variables, x, use_running_average=not training, mutable=["batch_stats"]
            )

        y, back, new = jax.vjp(run, jnp.asarray(x), trained, has_aux=True)
        dx, gradients = back(jnp.asarray(dy))
        self.arrays = {**trained, **new.get("batch_stats", kept)}
        names = {"scale": "dgamma", "bias": "dbeta"}
        return {"y": y, "dx": dx, **{names[k]: g for k, g in gradients.items()}}


class NNX:
    """flax.nnx.BatchNorm."""

    def __init__(self, state: dict[str, Any], options: dict[str, Any]) -> None:
        dtype = state["mean"].dtype
        self.module = nnx.BatchNorm(C, rngs=nnx.Rngs(0), param_dtype=dtype, **options)
        for name, value in state.items():
            getattr(self.module, name).set_value(jnp.asarray(value))

    def state(self) -> dict[str, Any]:
        """Give the values of its variables."""
        variables = {name: getattr(self.module, name) for name in START}
        return {k: np.asarray(v[...]) for k, v in variables.items() if v is not None}

    def step(self, x: Any, dy: Any, *, training: bool) -> dict[str, Any]:
        """Run forward, and JAX's own derivative of it."""
        self.module.train() if training else self.module.eval()
        graph, trained, rest = nnx.split(self.module, nnx.Param, ...)

        def run(x: Any, trained: Any) -> Any:
            return nnx.merge(graph, trained, rest, copy=True)(x)

        y, back = jax.vjp(run, jnp.asarray(x), trained)
        dx, gradients = back(jnp.asarray(dy))
        self.module(jnp.asarray(x))  # once more, outside the derivative: it changes the state
        flat = dict(nnx.to_flat_state(gradients))
        names = {"scale": "dgamma", "bias": "dbeta"}
        return {"y": y, "dx": dx, **{names[k[-1]]: g[...] for k, g in flat.items()}}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(16, C), (4, 6, 5, C), (2, C, 3, 4)])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", [Linen, NNX])
def test_three_steps_are_those_of_flax(
    kind: Any, options: dict[str, Any], shape: tuple[int, ...], dtype: str
) -> None:
    """Three in training, then one in eval, channels last or at axis 1."""
    options = {"axis": -1 if shape[-1] == C else 1, **options}
    state = start(dtype, options)
    layer = bn.BatchNorm(C, dialect="flax", **options).load_state(state)
    assert_same_steps(layer, kind(state, options), shape, dtype)


def test_the_defaults_are_those_of_flax() -> None:
    """Every option that both know."""
    module, ours = linen.BatchNorm(), bn.BatchNorm(C, dialect="flax").options
    assert {name: getattr(module, name) for name in ours} == ours


def test_a_converted_state_gives_the_same_in_flax() -> None:
    """PyTorch's dialect, converted and run by Flax itself."""
    rng = np.random.default_rng(4)
    layer = bn.BatchNorm(C, dialect="torch")
    for _ in range(3):
        layer.forward(rng.normal(1, 2, (8, C)).astype("f4"))
    done = bn.convert_state(layer.state(), "torch", "flax", n=8)
    theirs = Linen(done.state, done.options)
    x = rng.normal(size=(6, C)).astype("f4")
    y = theirs.step(x, x, training=False)["y"]
    assert parts(layer.eval().forward(x), y) <= FRAMEWORK_PARTS["float32"]
