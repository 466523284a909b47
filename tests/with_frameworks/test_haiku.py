"""The dialect haiku beside the installed Haiku."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed; make test-frameworks has it")
hk = pytest.importorskip("haiku", reason="Haiku is not installed; make test-frameworks has it")

import jax.numpy as jnp  # noqa: E402

import backnorm as bn  # noqa: E402
from with_frameworks.steps import C, assert_same_steps  # noqa: E402

OPTIONS: dict[str, dict[str, Any]] = {
    "decay .9": {"decay_rate": 0.9},
    "decay .5 and eps": {"decay_rate": 0.5, "eps": 1e-2},
    "no scale": {"decay_rate": 0.9, "create_scale": False},
    "no offset": {"decay_rate": 0.9, "create_offset": False},
}


@pytest.fixture(autouse=True)
def _double_precision() -> Any:
    """float64 where it is asked for; JAX has it off by default."""
    with jax.enable_x64(new_val=True):
        yield


class Haiku:
    """hk.BatchNorm, transformed."""

    def __init__(self, shape: tuple[int, ...], dtype: str, options: dict[str, Any]) -> None:
        def run(x: Any, *, training: bool) -> Any:
            return hk.BatchNorm(name="norm", **options)(x, is_training=training)

        self.run = hk.transform_with_state(run)
        x = jnp.zeros(shape, dtype)
        self.params, self.kept = self.run.init(jax.random.PRNGKey(0), x, training=True)
        rng = np.random.default_rng(1)
        self.params = jax.tree.map(
            lambda p: jnp.asarray(rng.uniform(0.5, 2, p.shape), p.dtype), self.params
        )

    def state(self) -> dict[str, Any]:
        """Give parameters and averages under the dialect's names."""
        found = {k: np.asarray(v) for k, v in self.params.get("norm", {}).items()}
        for module, arrays in self.kept.items():
            name = module.rsplit("/", 1)[-1]
            found |= {f"{name}/{k}": np.asarray(v) for k, v in arrays.items()}
        return found

    def step(self, x: Any, dy: Any, *, training: bool) -> dict[str, Any]:
        """Run forward, and JAX's own derivative of it."""

        def run(x: Any, params: Any) -> Any:
            return self.run.apply(params, self.kept, None, x, training=training)

        y, back, new = jax.vjp(run, jnp.asarray(x), self.params, has_aux=True)
        dx, gradients = back(jnp.asarray(dy))
        self.kept = new
        names = {"scale": "dgamma", "offset": "dbeta"}
        found = {names[k]: np.ravel(g) for k, g in gradients.get("norm", {}).items()}
        return {"y": y, "dx": dx, **found}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(16, C), (4, 6, 5, C), (2, C, 3, 4)])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_three_steps_are_those_of_haiku(
    options: dict[str, Any], shape: tuple[int, ...], dtype: str
) -> None:
    """Three in training, then one in eval: hidden, average and counter of both averages too."""
    options = {
        "create_scale": True,
        "create_offset": True,
        "data_format": "channels_last" if shape[-1] == C else "channels_first",
        **options,
    }
    theirs = Haiku(shape, dtype, options)
    layer = bn.BatchNorm(C, dialect="haiku", **options).load_state(theirs.state())
    assert_same_steps(layer, theirs, shape, dtype)
