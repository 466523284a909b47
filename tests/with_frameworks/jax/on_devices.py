"""Batches on several devices; test_devices.py runs this where JAX has four."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

from jax import numpy as jnp  # noqa: E402
from jax.sharding import Mesh, NamedSharding, PartitionSpec  # noqa: E402

from backnorm.errors import RangeError  # noqa: E402
from backnorm.jax import batch_norm  # noqa: E402
from backnorm.jax.engine import handlers  # noqa: E402
from backnorm.testing.budget import assert_bits  # noqa: E402
from with_frameworks.jax.formulas import draw, normalized, parts  # noqa: E402

pytestmark = pytest.mark.usefixtures("x64")

CLOSE = 1e-11
X, WEIGHTS = draw(8, 6, 5), draw(8, 6, 5, seed=4)
SCALE, BIAS = draw(5, seed=1), draw(5, seed=2)
CUT, WHOLE = PartitionSpec("d"), PartitionSpec()


def mesh_of(count: int) -> Mesh:
    """The first devices."""
    return Mesh(np.array(jax.devices()[:count]), ("d",))


def results(function: Any, *operands: Any) -> Any:
    """The output, and the gradients of a loss to the second order."""

    def loss(*now: Any) -> Any:
        return jnp.sin(WEIGHTS * function(*now)).sum()

    def twice(*now: Any) -> Any:
        return sum((g * g).sum() for g in jax.grad(loss, (0, 1, 2))(*now))

    value = jax.jit(function)(*operands)
    return value, jax.jit(jax.grad(loss, (0, 1, 2)))(*operands), jax.jit(jax.grad(twice))(*operands)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("count", [2, 4])
def test_parts_in_shard_map(count: int, check: bool) -> None:  # noqa: FBT001
    """Statistics of all parts; the gradient of a parameter is the sum over the parts."""

    def part(x: Any, scale: Any, bias: Any) -> Any:
        return batch_norm(x, scale, bias, axis_name="d").y

    specs = {"in_specs": (CUT, WHOLE, WHOLE), "out_specs": CUT, "check_vma": check}
    spread = jax.shard_map(part, mesh=mesh_of(count), **specs)
    assert parts(results(spread, X, SCALE, BIAS), results(normalized, X, SCALE, BIAS)) < CLOSE


@pytest.mark.parametrize("count", [2, 4])
def test_masks_of_unlike_parts(count: int) -> None:
    """One part counts nowhere."""
    mask = np.random.default_rng(0).random((8, 6)) < 0.6
    mask[: 8 // count] = False

    def part(x: Any, scale: Any, bias: Any, mask: Any) -> Any:
        return batch_norm(x, scale, bias, mask=mask, axis_name="d", activation="relu").y

    specs = {"in_specs": (CUT, WHOLE, WHOLE, CUT), "out_specs": CUT}
    spread = jax.shard_map(part, mesh=mesh_of(count), **specs)

    def whole(x: Any, scale: Any, bias: Any) -> Any:
        return normalized(x, scale, bias, mask=mask, activation="relu")

    got = results(lambda *a: spread(*a, mask), X, SCALE, BIAS)
    assert parts(got, results(whole, X, SCALE, BIAS)) < CLOSE


@pytest.mark.parametrize("check", [True, False])
def test_each_part_alone(check: bool) -> None:  # noqa: FBT001
    """Without axis_name a part has its own statistics, by the kernels."""

    def part(x: Any, scale: Any, bias: Any) -> Any:
        return batch_norm(x, scale, bias).y

    specs = {"in_specs": (CUT, WHOLE, WHOLE), "out_specs": CUT, "check_vma": check}
    spread = jax.shard_map(part, mesh=mesh_of(4), **specs)

    def each(x: Any, scale: Any, bias: Any) -> Any:
        return jax.vmap(normalized, (0, None, None))(x.reshape(4, 2, 6, 5), scale, bias).reshape(
            X.shape
        )

    assert parts(results(spread, X, SCALE, BIAS), results(each, X, SCALE, BIAS)) < CLOSE


def test_groups_of_parts() -> None:
    """Each group is a batch of its own."""

    def part(x: Any) -> Any:
        return batch_norm(x, axis_name="d", axis_index_groups=[[0, 1], [2, 3]]).y

    specs = {"in_specs": CUT, "out_specs": CUT, "check_vma": False}
    got = jax.jit(jax.shard_map(part, mesh=mesh_of(4), **specs))(X)
    assert parts(got, np.concatenate([normalized(X[:4]), normalized(X[4:])])) < CLOSE


@pytest.mark.parametrize("shape", [(8, 6, 5), (64, 7, 9, 5), (128, 5)])
def test_jit_keeps_a_batch_where_it_is(shape: tuple[int, ...]) -> None:
    """No device gathers x, neither forward nor backward; results stay spread as x is."""
    mesh = mesh_of(4)
    x = jax.device_put(draw(*shape), NamedSharding(mesh, CUT))
    weights = jax.device_put(draw(*shape, seed=4), NamedSharding(mesh, CUT))

    def run(function: Any) -> Any:
        def loss(x: Any) -> Any:
            y = function(x)
            return (weights * y).sum(), y

        return jax.jit(jax.grad(loss, has_aux=True))

    ours = run(lambda x: batch_norm(x, SCALE, BIAS).y)
    dx, y = ours(x)
    assert y.sharding.is_equivalent_to(x.sharding, x.ndim)
    assert dx.sharding.is_equivalent_to(x.sharding, x.ndim)
    assert "all-gather" not in ours.lower(x).compile().as_text()
    want = run(lambda x: normalized(x, SCALE, BIAS))(x)
    assert parts((dx, y), want) < CLOSE


def test_one_of_several_devices_has_the_kernels() -> None:
    """An array that is on one device is whole."""
    x = jax.device_put(X, jax.devices()[2])
    text = jax.jit(lambda x: batch_norm(x).y).lower(x).as_text()
    assert ("backnorm_forward" in text) == handlers.has_kernels()
    assert_bits(np.asarray(batch_norm(x).y), np.asarray(batch_norm(X).y))


@pytest.mark.skipif(not handlers.has_kernels(), reason="there are no exact sums at all")
def test_exact_sums_of_a_spread_array_are_refused() -> None:
    """The kernels would have to gather it."""
    x = jax.device_put(X, NamedSharding(mesh_of(4), CUT))
    with pytest.raises(RangeError, match="an array that is not on one CPU"):
        jax.jit(lambda x: batch_norm(x, sums="exact").y)(x)
