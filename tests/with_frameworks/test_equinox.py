"""The dialects equinox-batch and equinox-ema beside the installed Equinox."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed; make test-frameworks has it")
eqx = pytest.importorskip("equinox", reason="Equinox is not installed; make test-frameworks has it")

import jax.numpy as jnp  # noqa: E402

import backnorm as bn  # noqa: E402
from with_frameworks.steps import C, assert_same_steps  # noqa: E402

OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "eps and momentum": {"eps": 1e-3, "momentum": 0.7},
    "not affine": {"channelwise_affine": False},
}


@pytest.fixture(autouse=True)
def _double_precision() -> Any:
    """float64 where it is asked for; JAX has it off by default."""
    with jax.enable_x64(new_val=True):
        yield


class Equinox:
    """eqx.nn.BatchNorm under vmap."""

    def __init__(self, mode: str, dtype: str, options: dict[str, Any]) -> None:
        make = eqx.nn.make_with_state(eqx.nn.BatchNorm)
        self.layer, self.kept = make(C, "batch", mode=mode, dtype=dtype, **options)
        if self.layer.weight is not None:
            rng = np.random.default_rng(1)
            new = [jnp.asarray(rng.uniform(0.5, 2, C), dtype) for _ in range(2)]
            where = lambda layer: (layer.weight, layer.bias)  # noqa: E731 - as Equinox has it
            self.layer = eqx.tree_at(where, self.layer, tuple(new))
        self.mode = mode

    def state(self) -> dict[str, Any]:
        """Give parameters and statistics under the dialect's names."""
        found = {"weight": self.layer.weight, "bias": self.layer.bias}
        found = {name: value for name, value in found.items() if value is not None}
        if self.mode == "ema":
            mean, var = self.kept.get(self.layer.ema_state_index)
            first = self.kept.get(self.layer.ema_first_time_index)
            found |= {"running_mean": mean, "running_var": var, "first_time": first}
        else:
            mean, var = self.kept.get(self.layer.batch_state_index)
            counter = self.kept.get(self.layer.batch_counter)
            found |= {"hidden_mean": mean, "hidden_var": var, "counter": counter}
        return {name: np.asarray(value) for name, value in found.items()}

    def step(self, x: Any, dy: Any, *, training: bool) -> dict[str, Any]:
        """Run forward, and JAX's own derivative of it."""

        def run(x: Any, weights: Any) -> Any:
            where = lambda layer: (layer.weight, layer.bias)  # noqa: E731 - as Equinox has it
            none = lambda value: value is None  # noqa: E731
            layer = eqx.tree_at(where, self.layer, weights, is_leaf=none)
            call = lambda x: layer(x, self.kept, inference=not training)  # noqa: E731
            return jax.vmap(call, axis_name="batch", out_axes=(0, None))(x)

        weights = (self.layer.weight, self.layer.bias)
        y, back, new = jax.vjp(run, jnp.asarray(x), weights, has_aux=True)
        dx, gradients = back(jnp.asarray(dy))
        self.kept = new
        names = zip(("dgamma", "dbeta"), gradients, strict=True)
        return {"y": y, "dx": dx, **{name: g for name, g in names if g is not None}}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(16, C), (2, C, 3, 4)])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("mode", ["ema", "batch"])
def test_three_steps_are_those_of_equinox(
    mode: str, options: dict[str, Any], shape: tuple[int, ...], dtype: str
) -> None:
    """Three in training, then one in eval; the gradient through the blend of mode="ema" too."""
    theirs = Equinox(mode, dtype, options)
    layer = bn.BatchNorm(C, dialect=f"equinox-{mode}", **options).load_state(theirs.state())
    assert_same_steps(layer, theirs, shape, dtype)
