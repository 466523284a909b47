"""Our BatchNorm of flax.nnx beside Flax's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed; make test-frameworks has it")
pytest.importorskip("flax", reason="Flax is not installed; make test-frameworks has it")

from flax import nnx  # noqa: E402
from jax import numpy as jnp  # noqa: E402

from backnorm.errors import DtypeError  # noqa: E402
from backnorm.jax.layers import nnx as ours_of_nnx  # noqa: E402
from with_frameworks.jax_layers.alike import (  # noqa: E402
    assert_alike,
    assert_same_kinds,
    draw,
    limit_of,
)

BOTH = (ours_of_nnx.BatchNorm, nnx.BatchNorm)
X, WEIGHTS = draw(8, 5, 3), draw(8, 5, 3, seed=1)
COUNTS = np.random.default_rng(2).random((8, 5, 1)) < 0.6
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "epsilon, momentum, no parameters": {
        "epsilon": 1e-2,
        "momentum": 0.7,
        "use_bias": False,
        "use_scale": False,
    },
    "a mask": {"mask": COUNTS},
    "channels second": {"axis": 1, "num_features": 5},
    "a mask for each channel": {"mask": COUNTS & (np.arange(3) < 2) | ~COUNTS},
    "parameters of bfloat16": {"param_dtype": jnp.bfloat16},
}


def values(model: Any, kind: Any = ...) -> Any:
    """Return the variables of a model as a dictionary."""
    state = nnx.state(model, kind)
    pure = getattr(nnx, "to_pure_dict", lambda state: state.to_pure_dict())
    return pure(state)


def results(cls: Any, x: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return what training and evaluation give: values, gradients and states."""
    options = {"num_features": 3, **options}
    mask = options.pop("mask", None)
    layer = cls(**options, rngs=nnx.Rngs(0))
    first = jax.tree.map(jnp.copy, values(layer))

    def loss(layer: Any, x: Any) -> Any:
        y = layer(x, mask=mask)
        return (y * WEIGHTS.astype(y.dtype)).sum(), y

    wanted = (nnx.DiffState(0, nnx.Param), 1)
    gradients, y = nnx.jit(nnx.grad(loss, argnums=wanted, has_aux=True))(layer, x)
    state = values(layer)
    layer.eval()
    found = {"y": y, "state": state, "gradients": jax.tree.leaves(gradients)}
    return {"first": first, **found, "eval": layer(x)}


@pytest.mark.sampled(2)
@pytest.mark.usefixtures("x64")
@pytest.mark.filterwarnings("ignore:scatter inputs have incompatible types")  # Flax, in float64
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_is_as_in_flax(dtype: str, options: dict[str, Any]) -> None:
    """Output, gradients and state."""
    x = jnp.asarray(X, dtype)
    ours, theirs = (results(cls, x, options) for cls in BOTH)
    assert_same_kinds(ours, theirs)
    # Evaluation reads the running statistics, which are float32 in any case.
    assert_alike(ours.pop("eval"), theirs.pop("eval"), limit_of("float32"))
    assert_alike(ours, theirs, limit_of("bfloat16" if "param_dtype" in options else dtype))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_rounded_once(dtype: str) -> None:
    """Of the output and the gradient."""
    x = jnp.asarray(X, dtype)
    options = {"dtype": jnp.dtype(dtype), "param_dtype": jnp.dtype(dtype)}
    ours, theirs = (results(cls, x, options) for cls in BOTH)
    assert_same_kinds(ours, theirs)
    wide = results(nnx.BatchNorm, x.astype("float32"), {})
    assert_alike([ours["y"], ours["state"]], [wide["y"], wide["state"]], limit_of(dtype))
    assert_alike(ours["gradients"][-1], wide["gradients"][-1], 2 * limit_of(dtype))


def test_it_stands_in_for_the_original() -> None:
    """As an instance of it, with its modes, its message and its state."""
    ours, theirs = (cls(3, use_running_average=None, rngs=nnx.Rngs(0)) for cls in BOTH)
    assert isinstance(ours, nnx.BatchNorm)
    messages = []
    for layer in (ours, theirs):
        with pytest.raises(ValueError, match="No `use_running_average`") as refusal:
            layer(X)
        messages.append(str(refusal.value))
        layer.train()
        layer(jnp.asarray(X, "float32"))
    assert messages[0] == messages[1]
    fresh = ours_of_nnx.BatchNorm(3, use_running_average=True, rngs=nnx.Rngs(1))
    nnx.update(fresh, nnx.state(theirs))
    assert_alike(fresh(X), theirs(X, use_running_average=True), limit_of("float32"))
    nnx.update(theirs, nnx.state(ours))
    assert_alike(values(theirs), values(ours), 0.0)


def mapped_and_scanned(cls: Any, xs: Any) -> Any:
    """Return what layers give within nnx.vmap, and one within nnx.scan, with their states."""
    layers = nnx.vmap(lambda _: cls(4, rngs=nnx.Rngs(0)), axis_size=3)(None)
    each = nnx.vmap(lambda layer, x: layer(x))(layers, xs)
    axes = {"in_axes": (nnx.Carry, 0), "out_axes": (nnx.Carry, 0)}
    steps = nnx.scan(lambda layer, x: (layer, layer(x)), **axes)
    layer, later = steps(cls(4, momentum=0.5, rngs=nnx.Rngs(0)), xs)
    return each, values(layers), later, values(layer)


def test_models_are_mapped_and_scanned() -> None:
    """As the original is."""
    xs = jnp.asarray(draw(3, 8, 4), "float32")
    assert_alike(*(mapped_and_scanned(cls, xs) for cls in BOTH), limit_of("float32"))


def test_a_batch_in_parts_is_whole() -> None:
    """axis_name in vmap; a part in which nothing counts gives no NaN."""
    x, mask = jnp.asarray(draw(3, 8, 2), "float32"), np.zeros((3, 8, 1), bool)
    mask[0, :6] = mask[1, :2] = True
    spread = ours_of_nnx.BatchNorm(2, axis_name="shards", rngs=nnx.Rngs(0))
    whole = nnx.BatchNorm(2, rngs=nnx.Rngs(0))
    graph, state = nnx.split(spread)

    def run(state: Any, x: Any, mask: Any) -> Any:
        layer = nnx.merge(graph, state)
        return layer(x, mask=mask), nnx.state(layer, nnx.BatchStat)

    y, after = jax.vmap(run, (None, 0, 0), axis_name="shards")(state, x, mask)
    assert_alike(y, whole(x, mask=mask), limit_of("float32"))
    kept = jax.tree.leaves(jax.tree.map(lambda a: a[2], after))
    assert_alike(kept, jax.tree.leaves(nnx.state(whole, nnx.BatchStat)), limit_of("float32"))


def test_complex_numbers_are_refused() -> None:
    """With the dtype."""
    with pytest.raises(DtypeError, match="complex64"):
        ours_of_nnx.BatchNorm(2, rngs=nnx.Rngs(0))(jnp.ones((4, 2), "complex64"))
