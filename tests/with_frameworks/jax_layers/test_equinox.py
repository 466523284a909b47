"""Our BatchNorm of Equinox beside Equinox's own."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed; make test-frameworks has it")
eqx = pytest.importorskip("equinox", reason="Equinox is not installed; make test-frameworks has it")

from jax import numpy as jnp  # noqa: E402

from backnorm.errors import DtypeError  # noqa: E402
from backnorm.jax.layers.equinox import BatchNorm  # noqa: E402
from with_frameworks.jax_layers.alike import (  # noqa: E402
    assert_alike,
    assert_same_kinds,
    draw,
    limit_of,
)

BOTH = (BatchNorm, eqx.nn.BatchNorm)
X, WEIGHTS = draw(8, 3, 5), draw(8, 3, 5, seed=1)
MODES = ("batch", "ema")
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "eps and momentum": {"eps": 1e-2, "momentum": 0.7},
    "not affine": {"channelwise_affine": False},
}


def made(cls: Any, size: int = 3, **options: Any) -> Any:
    """Return a layer and its state."""
    return eqx.nn.make_with_state(cls)(size, axis_name="batch", **options)


def over(layer: Any, x: Any, state: Any) -> Any:
    """Call a layer on a batch."""
    call = jax.vmap(layer, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
    return call(x, state)


def results(cls: Any, x: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return what two steps of training and evaluation give: values, gradients and states."""
    layer, state = made(cls, **options)

    def loss(differentiated: Any, state: Any) -> Any:
        layer, x = differentiated
        y, state = over(layer, x, state)
        return (y * WEIGHTS.astype(y.dtype)).sum(), (y, state)

    run = eqx.filter_jit(eqx.filter_value_and_grad(loss, has_aux=True))
    steps = []
    for scale in (1, 2):
        (_, (y, state)), (gradient, dx) = run((layer, x * scale), state)
        kept = jax.tree.leaves(state)
        steps.append({"y": y, "state": kept, "dx": dx, "gradient": jax.tree.leaves(gradient)})
    y, _ = over(eqx.nn.inference_mode(layer), x, state)
    return {"steps": steps, "eval": y}


@pytest.mark.sampled(2)
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_is_as_in_equinox(dtype: str, mode: str, options: dict[str, Any]) -> None:
    """Output, gradients and states, also through the blend of mode="ema"."""
    options = {"mode": mode, "dtype": jnp.dtype(dtype), **options}
    ours, theirs = (results(cls, jnp.asarray(X, dtype), options) for cls in BOTH)
    assert_same_kinds(ours, theirs)
    assert_alike(ours, theirs, limit_of(dtype))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_beside_statistics_of_float32(dtype: str, mode: str) -> None:
    """The output has the dtype of the parameters; Equinox's mode="ema" takes no such x."""
    x = jnp.asarray(X, dtype)
    ours = results(BatchNorm, x, {"mode": mode})
    if mode == "batch":
        assert_same_kinds(ours, results(eqx.nn.BatchNorm, x, {"mode": mode}))
    wide = results(eqx.nn.BatchNorm, x.astype("float32"), {"mode": mode})
    # The gradient of x has the dtype of x, and all else is computed in float32.
    assert_alike(ours, wide, limit_of(dtype))


def test_a_mean_far_from_0_costs_nothing() -> None:
    """As it costs nothing in float64."""
    x = draw(64, 3, offset=1e4).astype(np.float32)
    (ours, state), exact = made(BatchNorm, mode="batch"), x.astype(float)
    want = (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-5)
    assert_alike(over(ours, jnp.asarray(x), state)[0], want, limit_of("float32"))


@pytest.mark.parametrize("mode", MODES)
def test_checkpoints_fit_both_ways(mode: str) -> None:
    """Bytes of one are read into the other, and its state with them."""
    ours, theirs = (made(cls, mode=mode) for cls in BOTH)
    x = jnp.asarray(X, "float32")
    for source, target in ((ours, theirs), (theirs, ours)):
        layer, state = source
        _, state = over(layer, x, state)
        file = io.BytesIO()
        eqx.tree_serialise_leaves(file, (layer, state))
        read, kept = eqx.tree_deserialise_leaves(io.BytesIO(file.getvalue()), target)
        found = [
            over(eqx.nn.inference_mode(one), x, s)[0] for one, s in ((read, kept), (layer, state))
        ]
        assert_alike(*found, limit_of("float32"))


@pytest.mark.parametrize("mode", MODES)
def test_it_is_scanned_and_mapped_further(mode: str) -> None:
    """Batches within lax.scan; several batches within another vmap, and two named axes."""
    xs = jnp.asarray(draw(2, 8, 3), "float32")

    def run(cls: Any) -> Any:
        layer, state = made(cls, mode=mode)
        scanned = jax.lax.scan(lambda state, x: over(layer, x, state)[::-1], state, xs)
        both = eqx.tree_at(lambda one: one.axis_name, layer, ["batch", "more"])
        mapped = jax.vmap(over, (None, 0, None))(layer, xs, state)
        call = jax.vmap(over, (None, 0, None), (0, None), axis_name="more")
        return jax.tree.leaves((scanned, mapped, call(both, xs, state)))

    assert_alike(run(BatchNorm), run(eqx.nn.BatchNorm), limit_of("float32"))


def test_it_stands_in_for_the_original() -> None:
    """With its fields and its errors; statistics keep their dtype, where Equinox refuses."""
    layer, state = made(BatchNorm, mode="batch")
    assert isinstance(layer, eqx.nn.BatchNorm)
    with pytest.raises(NameError, match="batch"):
        layer(jnp.ones(3), state)
    with pytest.raises(ValueError, match="Invalid mode"):
        made(BatchNorm, mode="other")
    with pytest.warns(UserWarning, match="legacy|unspecified"):
        made(BatchNorm)
    with pytest.raises(DtypeError, match="complex64"):
        over(layer, jnp.ones((4, 3), "complex64"), state)
