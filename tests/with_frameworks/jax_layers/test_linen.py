"""Our BatchNorm of flax.linen beside Flax's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed; make test-frameworks has it")
pytest.importorskip("flax", reason="Flax is not installed; make test-frameworks has it")

from flax import linen as nn  # noqa: E402
from flax import serialization  # noqa: E402
from jax import numpy as jnp  # noqa: E402

from backnorm.errors import DtypeError, ShapeError  # noqa: E402
from backnorm.jax.layers import linen  # noqa: E402
from with_frameworks.jax_layers.alike import (  # noqa: E402
    assert_alike,
    assert_same_kinds,
    draw,
    limit_of,
)

X, WEIGHTS = draw(8, 5, 4, 3), draw(8, 5, 4, 3, seed=1)
COUNTS = np.random.default_rng(2).random((8, 5, 1, 1)) < 0.6
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "epsilon and momentum": {"epsilon": 1e-2, "momentum": 0.7},
    "a mask": {"mask": COUNTS},
    "channels second": {"axis": 1},
    "two axes of features": {"axis": (1, -1)},
    "no axis of features": {"axis": ()},
    "no parameters": {"use_bias": False, "use_scale": False},
    "a dtype": {"dtype": "bfloat16"},
    "a mask for each channel": {"mask": COUNTS & (np.arange(3) < 2) | ~COUNTS},
    "two axes and a mask": {"axis": (1, 3), "mask": COUNTS[:, :1]},
    "parameters of bfloat16": {"param_dtype": "bfloat16"},
}


def results(cls: Any, x: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return what training and evaluation give: values, gradients and states."""
    mask = options.get("mask")
    options = {name: value for name, value in options.items() if name != "mask"}
    layer = cls(use_running_average=False, **options)
    first = layer.init(jax.random.key(0), x)

    def loss(parameters: Any, x: Any) -> Any:
        variables = {**first, "params": parameters} if parameters else first
        y, state = layer.apply(variables, x, mask=mask, mutable=["batch_stats"])
        return (y * WEIGHTS.astype(y.dtype)).sum(), (y, state)

    run = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    (_, (y, state)), gradients = run(first.get("params", {}), x)
    eval_y = layer.clone(use_running_average=True).apply({**first, **state}, x)
    return {"first": first, "y": y, "state": state, "gradients": gradients, "eval": eval_y}


@pytest.mark.sampled(2)
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_is_as_in_flax(dtype: str, options: dict[str, Any]) -> None:
    """Output, gradients and state, of positions that do not count as well."""
    x = jnp.asarray(X, dtype)
    ours, theirs = (results(cls, x, options) for cls in (linen.BatchNorm, nn.BatchNorm))
    assert_same_kinds(ours, theirs)
    half = {"dtype", "param_dtype"} & set(options)
    assert_alike(ours, theirs, limit_of("bfloat16" if half else dtype))


@pytest.mark.parametrize("forced", [True, False])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_rounded_once(dtype: str, forced: bool) -> None:  # noqa: FBT001
    """Output and gradient are those of float32, rounded; statistics have Flax's dtype."""
    x = jnp.asarray(X, dtype)
    options = {"dtype": dtype, "param_dtype": dtype, "force_float32_reductions": forced}
    ours, theirs = (results(cls, x, options) for cls in (linen.BatchNorm, nn.BatchNorm))
    assert_same_kinds(ours, theirs)
    wide = results(nn.BatchNorm, x.astype("float32"), {})
    assert_alike(
        [ours[k] for k in ("y", "state")], [wide[k] for k in ("y", "state")], limit_of(dtype)
    )
    assert_alike(ours["gradients"][1], wide["gradients"][1], 2 * limit_of(dtype))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("fast", [True, False])
def test_a_mean_far_from_0_costs_nothing(fast: bool) -> None:  # noqa: FBT001
    """Flax's difference of two squares is all rounding error there."""
    x = draw(64, 3, offset=1e4).astype(np.float32)
    layer = linen.BatchNorm(use_running_average=False, use_fast_variance=fast)
    exact = nn.BatchNorm(use_running_average=False, use_fast_variance=False)
    y, _ = layer.init_with_output(jax.random.key(0), jnp.asarray(x))
    want, _ = exact.init_with_output(jax.random.key(0), jnp.asarray(x, "float64"))
    assert_alike(y, want, limit_of("float32"))


class Network(nn.Module):  # type: ignore[misc]
    """Two layers, which are named by Flax."""

    norm: Any = nn.BatchNorm

    @nn.compact
    def __call__(self, x: Any, train: bool = True) -> Any:  # noqa: FBT001, FBT002
        """Normalize twice."""
        x = self.norm(use_running_average=not train)(nn.Dense(4)(x))
        return self.norm(use_running_average=not train)(nn.relu(x))


def test_checkpoints_fit_both_ways() -> None:
    """Names that Flax gives are the same; bytes of one are read into the other."""
    theirs, ours = Network(), Network(linen.BatchNorm)
    first = [model.init(jax.random.key(0), X[:, 0, 0]) for model in (ours, theirs)]
    assert_same_kinds(*first)
    trained = theirs.apply(first[1], X[:, 0, 0], mutable=["batch_stats"])[1]
    data = serialization.to_bytes({**first[1], **trained})
    read = serialization.from_bytes(first[0], data)
    found = [model.apply(read, X[:, 1, 0], train=False) for model in (ours, theirs)]
    assert_alike(*found, limit_of("float32"))


def test_an_interceptor_computes_layers_of_a_model() -> None:
    """The model is Flax's own; where the mean is large one sees who computes."""
    x = jnp.asarray(draw(64, 3, offset=1e4), "float32")
    layer = nn.BatchNorm(use_running_average=False)
    y, _ = linen.BatchNorm(use_running_average=False).init_with_output(jax.random.key(0), x)
    with nn.intercept_methods(linen.interceptor):
        computed, _ = layer.init_with_output(jax.random.key(0), x)
        found = Network().init_with_output(jax.random.key(0), x)
    assert np.array_equal(computed, y)
    assert not np.array_equal(layer.init_with_output(jax.random.key(0), x)[0], y)
    assert_same_kinds(found, Network().init_with_output(jax.random.key(0), x))


def test_it_is_scanned_and_mapped() -> None:
    """Steps within lax.scan, and models within vmap, are those of a loop."""
    layer = linen.BatchNorm(use_running_average=False, momentum=0.5)
    xs = jnp.asarray(draw(3, 8, 4), "float32")
    first = layer.init(jax.random.key(0), xs[0])

    def step(state: Any, x: Any) -> Any:
        y, changed = layer.apply({**first, **state}, x, mutable=["batch_stats"])
        return changed, y

    start = state = {"batch_stats": first["batch_stats"]}
    want = []
    for x in xs:
        state, y = step(state, x)
        want.append(y)
    assert_alike(jax.lax.scan(step, start, xs), (state, jnp.stack(want)), limit_of("float32"))
    mapped = jax.vmap(step, (None, 0))(start, xs)
    each = [step(start, x) for x in xs]
    assert_alike(mapped, jax.tree.map(lambda *a: jnp.stack(a), *each), limit_of("float32"))


def test_parts_of_a_batch_weigh_by_what_counts() -> None:
    """Flax gives each shard one weight, and NaN for all if nothing counts in one."""
    x, mask = jnp.asarray(draw(3, 8, 2), "float32"), np.zeros((3, 8, 1), bool)
    mask[0, :6] = mask[1, :2] = True

    def run(layer: Any, x: Any, mask: Any) -> Any:
        start = {"batch_stats": {"mean": jnp.zeros(2), "var": jnp.ones(2)}}
        return layer.apply(start, x, mask=mask, mutable=["batch_stats"])

    options = {"use_running_average": False, "use_bias": False, "use_scale": False}
    spread = linen.BatchNorm(axis_name="shards", **options)
    y, state = jax.vmap(lambda *a: run(spread, *a), axis_name="shards")(x, mask)
    want_y, want_state = run(nn.BatchNorm(**options), x, mask)
    assert_alike(y, want_y, limit_of("float32"))
    assert_alike(jax.tree.map(lambda a: a[2], state), want_state, limit_of("float32"))


def test_where_nothing_counts_nothing_changes() -> None:
    """Not NaN for ever after, as with Flax."""
    layer = linen.BatchNorm(use_running_average=False)
    first = layer.init(jax.random.key(0), X)
    masked = np.ones((8, 1, 1, 3), bool) & (np.arange(3) != 1)
    y, state = layer.apply(first, X, mask=masked, mutable=["batch_stats"])
    assert not np.asarray(y[..., 1]).any()
    assert [state["batch_stats"][name][1] for name in ("mean", "var")] == [0, 1]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((y, state)))


def test_what_does_not_count_may_be_nan() -> None:
    """It stays NaN, and no gradient of what counts has one."""
    layer = linen.BatchNorm(use_running_average=False)
    first = layer.init(jax.random.key(0), X)
    x = jnp.asarray(np.where(COUNTS, X, np.nan), "float32")

    def loss(parameters: Any, x: Any) -> Any:
        given = {**first, "params": parameters}
        y, _ = layer.apply(given, x, mask=COUNTS, mutable=["batch_stats"])
        return jnp.where(COUNTS, y, 0).sum(), y

    gradients, y = jax.grad(loss, (0, 1), has_aux=True)(first["params"], x)
    assert np.array_equal(np.isnan(y), np.isnan(x))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_complex_numbers_and_empty_batches_are_refused() -> None:
    """With the reason, where Flax computes the first and gives NaN for the second."""
    layer = linen.BatchNorm(use_running_average=False)
    with pytest.raises(DtypeError, match="complex64"):
        layer.init(jax.random.key(0), jnp.ones((4, 2), "complex64"))
    with pytest.raises(DtypeError, match="complex64"):
        linen.BatchNorm(use_running_average=False, dtype="complex64").init(jax.random.key(0), X)
    with pytest.raises(ShapeError, match="at least one value per channel"):
        layer.init(jax.random.key(0), jnp.ones((0, 2)))
