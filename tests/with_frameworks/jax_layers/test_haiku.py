"""Our BatchNorm of Haiku beside Haiku's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed; make test-frameworks has it")
hk = pytest.importorskip("haiku", reason="Haiku is not installed; make test-frameworks has it")

from jax import numpy as jnp  # noqa: E402

from backnorm.errors import DtypeError  # noqa: E402
from backnorm.jax.layers import haiku  # noqa: E402
from with_frameworks.jax_layers.alike import (  # noqa: E402
    assert_alike,
    assert_same_kinds,
    draw,
    limit_of,
)

BOTH = (haiku.BatchNorm, hk.BatchNorm)
X, WEIGHTS = draw(8, 5, 3), draw(8, 5, 3, seed=1)
NEITHER = {"create_scale": False, "create_offset": False}
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "eps and decay_rate": {"eps": 1e-2, "decay_rate": 0.5},
    "channels second": {"data_format": "NC..."},
    "two axes of features": {"axis": [0]},
    "no axis of features": {"axis": [0, 1, 2]},
    "neither": NEITHER,
    "passed, for channels": {**NEITHER, "scale": draw(3), "offset": draw(1, 1, 3)},
    "passed, for positions": {**NEITHER, "scale": draw(8, 1, 3), "offset": draw(3)},
}


def results(cls: Any, x: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return what training and evaluation give: values, gradients and states."""
    passed = {n: jnp.asarray(v, x.dtype) for n, v in options.items() if n in {"scale", "offset"}}
    options = {name: value for name, value in options.items() if name not in passed}
    options = {"create_scale": True, "create_offset": True, "decay_rate": 0.9, **options}
    both = hk.transform_with_state(lambda x, train: cls(**options)(x, train, **passed))
    # JAX compiles what it can as it goes: a flag of Python is no array.
    train = True
    parameters, first = both.init(None, x, train)

    def loss(parameters: Any, x: Any) -> Any:
        y, state = both.apply(parameters, first, None, x, train)
        return (y * WEIGHTS.astype(y.dtype)).sum(), (y, state)

    run = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    (_, (y, state)), gradients = run(parameters, x)
    eval_y, _ = both.apply(parameters, state, None, x, not train)
    first = {"parameters": parameters, "first": first}
    return {**first, "y": y, "state": state, "gradients": gradients, "eval": eval_y}


@pytest.mark.sampled(2)
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_is_as_in_haiku(dtype: str, options: dict[str, Any]) -> None:
    """Output, gradients, names and states."""
    x = jnp.asarray(X, dtype)
    ours, theirs = (results(cls, x, options) for cls in BOTH)
    assert_same_kinds(ours, theirs)
    assert_alike(ours, theirs, limit_of(dtype))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_rounded_once(dtype: str) -> None:
    """Of the output and the gradient; Haiku rounds after each operation."""
    x = jnp.asarray(X, dtype)
    ours, theirs = (results(cls, x, {}) for cls in BOTH)
    assert_same_kinds(ours, theirs)
    wide = results(hk.BatchNorm, x.astype("float32"), {})
    assert_alike(ours["y"], wide["y"], limit_of(dtype))
    assert_alike(ours["gradients"][1], wide["gradients"][1], 2 * limit_of(dtype))


def test_a_mean_far_from_0_costs_nothing() -> None:
    """The difference of two squares is all rounding error there."""
    x = draw(64, 3, offset=1e4).astype(np.float32)
    both = hk.transform_with_state(lambda x: haiku.BatchNorm(True, True, 0.9)(x, True))  # noqa: FBT003
    y, _ = both.apply(*both.init(None, x), None, x)
    exact = x.astype(float)
    want = (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-5)
    assert_alike(y, want, limit_of("float32"))


def test_integers_are_numbers() -> None:
    """As with Haiku: the statistics are float32, and a created scale has x's dtype."""
    x = jnp.arange(8).reshape(4, 2)
    run = [
        hk.transform_with_state(lambda x, cls=cls: cls(True, False, 0.9)(x, is_training=True))  # noqa: FBT003
        for cls in BOTH
    ]
    found = [(both.init(None, x), both.apply(*both.init(None, x), None, x)) for both in run]
    assert_same_kinds(*found)
    assert_alike(*found, limit_of("float32"))


def test_states_fit_both_ways() -> None:
    """A model that is trained with one class is evaluated with the other."""

    def network(cls: Any) -> Any:
        def run(x: Any, *, train: bool) -> Any:
            x = cls(create_scale=True, create_offset=True, decay_rate=0.9)(hk.Linear(4)(x), train)
            return cls(create_scale=True, create_offset=True, decay_rate=0.9)(x, train)

        return hk.transform_with_state(run)

    x = jnp.asarray(X[:, 0], "float32")
    models = [network(cls) for cls in BOTH]
    first = [model.init(jax.random.key(0), x, train=True) for model in models]
    assert_same_kinds(*first)
    for model, (parameters, state) in zip(models, first, strict=True):
        _, trained = model.apply(parameters, state, None, x, train=True)
        found = [other.apply(parameters, trained, None, x, train=False)[0] for other in models]
        assert_alike(*found, limit_of("float32"))


def test_an_interceptor_computes_layers_of_a_model() -> None:
    """The model is Haiku's own; where the mean is large one sees who computes."""
    x = jnp.asarray(draw(64, 3, offset=1e4), "float32")
    y = []
    for cls in (haiku.BatchNorm, hk.BatchNorm, hk.BatchNorm):
        both = hk.transform_with_state(lambda x, cls=cls: cls(True, True, 0.9)(x, True))  # noqa: FBT003
        made = both.init(None, x)
        if len(y) == 1:
            with hk.intercept_methods(haiku.interceptor):
                y.append(both.apply(*made, None, x)[0])
        else:
            y.append(both.apply(*made, None, x)[0])
    assert np.array_equal(y[0], y[1])
    assert not np.array_equal(y[0], y[2])


def test_a_batch_in_parts_is_whole() -> None:
    """cross_replica_axis, in vmap."""
    x = jnp.asarray(draw(3, 8, 2), "float32")

    def run(cls: Any, **options: Any) -> Any:
        layer = lambda x: cls(True, True, 0.9, name="norm", **options)(x, True)  # noqa: E731, FBT003
        return hk.transform_with_state(layer)

    spread, whole = run(haiku.BatchNorm, cross_replica_axis="shards"), run(hk.BatchNorm)
    made = whole.init(None, x.reshape(24, 2))
    y, _ = jax.vmap(lambda x: spread.apply(*made, None, x), axis_name="shards")(x)
    want, _ = whole.apply(*made, None, x.reshape(24, 2))
    assert_alike(y.reshape(24, 2), want, limit_of("float32"))


def test_wrong_calls_are_refused() -> None:
    """In Haiku's own words; complex numbers in ours."""

    def run(x: Any, **passed: Any) -> Any:
        return haiku.BatchNorm(True, True, 0.9)(x, is_training=True, **passed)  # noqa: FBT003

    for name in ("scale", "offset"):
        both = hk.transform_with_state(lambda x, name=name: run(x, **{name: jnp.ones(2)}))
        with pytest.raises(ValueError, match=f"Cannot pass `{name}` at call time"):
            both.init(None, jnp.ones((4, 2)))
    with pytest.raises(DtypeError, match="complex64"):
        hk.transform_with_state(run).init(None, jnp.ones((4, 2), "complex64"))
