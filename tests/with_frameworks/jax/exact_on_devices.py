"""Exact sums over several devices; test_devices.py runs this where JAX has four."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import ml_dtypes  # noqa: E402 - beside JAX
from jax import numpy as jnp  # noqa: E402
from jax.sharding import Mesh, PartitionSpec  # noqa: E402

import backnorm as bn  # noqa: E402
from backnorm.errors import RangeError  # noqa: E402
from backnorm.jax import batch_norm  # noqa: E402
from backnorm.jax.engine import handlers  # noqa: E402
from backnorm.testing.budget import assert_bits  # noqa: E402
from with_frameworks.jax.formulas import draw, normalized, parts  # noqa: E402

pytestmark = pytest.mark.skipif(
    not handlers.has_kernels(), reason="the C++ part was built without the headers of jaxlib"
)

CUT, WHOLE = PartitionSpec("d"), PartitionSpec()
SHAPE = (8, 6, 35, 5)
OFFSET = np.array([0, 0.5, 1e3, -1e5, 1e7])
SCALE, BIAS = draw(5, seed=1, dtype=np.float32), draw(5, seed=2, dtype=np.float32)
CLOSE = 2e-5
"""Of second derivatives, which formulas in float32 take."""

REVERSE_TWICE = jax.__version_info__ >= (0, 8)
"""Older versions of JAX raise an error there, within `jax.shard_map`: docs/jax.md."""


def mesh_of(count: int) -> Mesh:
    """The first devices."""
    return Mesh(np.array(jax.devices()[:count]), ("d",))


def spread(count: int, *, check: bool = True, **options: Any) -> Any:
    """Return a compiled function of x, scale, bias and maybe a residual or a mask."""
    names = [name for name in ("residual", "mask") if options.pop(name, False)]

    def part(x: Any, scale: Any, bias: Any, *rest: Any) -> Any:
        named = dict(zip(names, rest, strict=True))
        batch = batch_norm(x, scale, bias, sums="exact", axis_name="d", **named, **options)
        return batch.y, (batch.mean, batch.var, batch.inv_std, batch.n)

    specs = {"in_specs": (CUT, WHOLE, WHOLE, *[CUT] * len(names)), "out_specs": (CUT, WHOLE)}
    return jax.jit(jax.shard_map(part, mesh=mesh_of(count), check_vma=check, **specs))


def assert_all_bits(got: Any, want: Any) -> None:
    """Compare all arrays of two trees."""
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert_bits(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("activation", ["identity", "leaky_relu"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_parts_have_the_bits_of_the_whole(count: int, activation: str, dtype: Any) -> None:
    """Output, statistics and every gradient, beside one call of the NumPy functions."""
    offset = OFFSET if dtype == np.float32 else 0
    x = (draw(*SHAPE) + offset).astype(dtype)
    dy, residual = (draw(*SHAPE, seed=k, dtype=dtype) for k in (3, 4))
    options = {"activation": activation}
    forward = bn.batch_norm(
        x, SCALE, BIAS, channel_axis=-1, sums="exact", residual=residual, **options
    )
    want = bn.batch_norm_backward(dy, forward)
    function = spread(count, residual=True, **options)
    y, back, statistics = jax.vjp(function, x, SCALE, BIAS, residual, has_aux=True)
    assert_bits(np.asarray(y), forward.y)
    assert_all_bits(back(jnp.asarray(dy)), (want.dx, want.dgamma, want.dbeta, want.dresidual))
    for got, name in zip(statistics, ("mean", "var", "inv_std"), strict=False):
        assert_bits(np.asarray(got), getattr(forward, name).astype(np.float32))
    assert int(statistics[3]) == forward.n


@pytest.mark.parametrize("count", [2, 4])
def test_parts_of_which_jax_does_not_know_that_they_share(count: int) -> None:
    """Without its check of types, JAX adds the gradients of the parameters, rounded to float32."""
    x, dy = (draw(*SHAPE, seed=k, dtype=np.float32) for k in (0, 3))
    forward = bn.batch_norm(x, SCALE, BIAS, channel_axis=-1, sums="exact")
    want = bn.batch_norm_backward(dy, forward)
    function = spread(count, check=False)
    y, back, _ = jax.vjp(function, x, SCALE, BIAS, has_aux=True)
    dx, dscale, dbias = back(jnp.asarray(dy))
    assert_all_bits((y, dx), (forward.y, want.dx))
    assert parts((dscale, dbias), (want.dgamma, want.dbeta)) < 1e-6


@pytest.mark.parametrize("check", [True, False])
def test_a_scale_that_differs_between_the_devices_is_refused(check: bool) -> None:  # noqa: FBT001
    """Its gradient wants other sums: by JAX's types, or where these are not checked in the run."""
    x, scales = draw(*SHAPE, dtype=np.float32), draw(4, 5, seed=7, dtype=np.float32)

    def part(x: Any, scale: Any) -> Any:
        return batch_norm(x, scale[0], sums="exact", axis_name="d").y

    specs = {"in_specs": (CUT, CUT), "out_specs": CUT, "check_vma": check}
    function = jax.jit(jax.shard_map(part, mesh=mesh_of(4), **specs))
    with pytest.raises((RangeError, jax.errors.JaxRuntimeError), match="scale"):
        jax.block_until_ready(jax.grad(lambda x: (function(x, scales) ** 2).sum())(x))


def test_a_bias_that_differs_between_the_devices() -> None:
    """The gradient of a bias is that of the part on its device."""
    x, dy = (draw(*SHAPE, seed=k, dtype=np.float32) for k in (0, 3))
    biases = draw(4, 5, seed=7, dtype=np.float32)

    def part(x: Any, scale: Any, bias: Any) -> Any:
        options = {"sums": "exact", "axis_name": "d", "activation": "relu"}
        return batch_norm(x, scale, bias[0], **options).y

    def whole(x: Any, scale: Any, biases: Any) -> Any:
        y = normalized(x, scale).reshape(4, 2, *SHAPE[1:]) + biases[:, None, None, None]
        return jax.nn.relu(y).reshape(SHAPE)

    specs = {"in_specs": (CUT, WHOLE, CUT), "out_specs": CUT}
    function = jax.jit(jax.shard_map(part, mesh=mesh_of(4), **specs))
    got, want = (jax.vjp(f, x, SCALE, biases)[1](jnp.asarray(dy)) for f in (function, whole))
    assert parts(got, want) < CLOSE


@pytest.mark.parametrize("count", [2, 4])
def test_masks_of_unlike_parts(count: int) -> None:
    """One part counts nowhere; what does not count is NaN. All is as of the values that count."""
    mask = np.random.default_rng(0).random(SHAPE[:3]) < 0.6
    mask[: 8 // count] = False
    clean = (draw(*SHAPE) + OFFSET).astype(np.float32)
    x = np.where(mask[..., None], clean, np.float32(np.nan))
    dy = draw(*SHAPE, seed=3, dtype=np.float32)
    forward = bn.batch_norm(clean[mask], SCALE, BIAS, sums="exact", activation="relu")
    want = bn.batch_norm_backward(np.ascontiguousarray(dy[mask]), forward)
    function = spread(count, mask=True, activation="relu")
    y, back, statistics = jax.vjp(lambda *a: function(*a, mask), x, SCALE, BIAS, has_aux=True)
    dx, dscale, dbias = back(jnp.asarray(dy))
    assert_all_bits((y[mask], dx[mask]), (forward.y, want.dx))
    assert_all_bits((dscale, dbias), (want.dgamma, want.dbeta))
    assert not np.asarray(y)[~mask].any()
    assert not np.asarray(dx)[~mask].any()
    assert_all_bits(statistics[:2], (forward.mean.astype("f4"), forward.var.astype("f4")))
    assert int(statistics[3]) == mask.sum()


def test_statistics_are_rounded_from_exact_sums() -> None:
    """Mean and variance of four parts, by fractions."""
    x = (draw(8, 5) * 10.0 ** np.arange(-16, 20, 8) + OFFSET).astype(np.float32)
    _, (mean, var, _, _) = spread(4)(x, SCALE, BIAS)
    for c in range(5):
        values = [Fraction(float(v)) for v in x[:, c]]
        exact = sum(values) / 8
        square = sum((v - exact) ** 2 for v in values) / 8
        assert float(mean[c]) == float(np.float32(float(exact)))
        assert float(var[c]) == float(np.float32(float(square)))


@pytest.mark.parametrize("what", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_on_one_part(what: float) -> None:
    """Its channel is NaN on all parts, as in one call; the others have their bits."""
    x = draw(*SHAPE, dtype=np.float32)
    x[5, 0, 0, 2] = what
    with np.errstate(all="ignore"):
        forward = bn.batch_norm(x, SCALE, BIAS, channel_axis=-1, sums="exact")
    y, statistics = spread(4)(x, SCALE, BIAS)
    assert_all_bits((y, statistics[0]), (forward.y, forward.mean.astype("f4")))


@pytest.mark.parametrize("through", ["both", "mean", "variance", "none"])
@pytest.mark.parametrize("check", [True, False])
def test_derivatives_to_the_second_order(through: str, check: bool) -> None:  # noqa: FBT001
    """Forward mode, reverse mode, and reverse mode of both."""
    x, weights = (draw(8, 6, 5, seed=k, dtype=np.float32) for k in (0, 4))
    steps = [draw(*a.shape, seed=9, dtype=np.float32) for a in (x, SCALE, BIAS)]
    exact = spread(4, check=check, through=through, activation="leaky_relu")

    def results(function: Any) -> Any:
        def loss(*now: Any) -> Any:
            return jnp.sin(weights * function(*now)).sum()

        def along(*now: Any) -> Any:
            return jax.jvp(loss, now, tuple(steps))[1]

        gradients = jax.grad(loss, (0, 1, 2))
        twice = jax.grad(lambda *now: sum((g * g).sum() for g in gradients(*now)), (0, 1))
        given = (x, SCALE, BIAS)
        once = along(*given), gradients(*given), jax.grad(along)(*given)
        return (*once, twice(*given)) if REVERSE_TWICE else once

    def whole(*now: Any) -> Any:
        return normalized(*now, activation="leaky_relu", through=through)

    assert parts(results(lambda *now: exact(*now)[0]), results(whole)) < CLOSE


def test_statistics_have_derivatives() -> None:
    """As those of one array."""
    x, weights = draw(8, 6, 5, dtype=np.float32), draw(3, 5, seed=4, dtype=np.float32)
    exact = spread(4)

    def ours(x: Any) -> Any:
        found = exact(x, SCALE, BIAS)[1][:3]
        return sum((w * s).sum() for w, s in zip(weights, found, strict=True))

    def want(x: Any) -> Any:
        var = x.var((0, 1))
        found = (x.mean((0, 1)), var, 1 / jnp.sqrt(var + 1e-5))
        return sum((w * s).sum() for w, s in zip(weights, found, strict=True))

    assert parts(jax.value_and_grad(ours)(x), jax.value_and_grad(want)(x)) < CLOSE


def test_batches_that_vmap_maps_on_each_device() -> None:
    """Each has its own mask, and the bits of a call by itself."""
    x = draw(3, *SHAPE[:2], 5, dtype=np.float32)
    dy = draw(*x.shape, seed=3, dtype=np.float32)
    masks = np.random.default_rng(1).random(x.shape[:3]) < 0.7

    def part(x: Any, mask: Any) -> Any:
        def one(x: Any, mask: Any) -> Any:
            return batch_norm(x, SCALE, mask=mask, sums="exact", axis_name="d").y

        return jax.vmap(one)(x, mask)

    second = PartitionSpec(None, "d")
    specs = {"in_specs": (second, second), "out_specs": second}
    function = jax.jit(jax.shard_map(part, mesh=mesh_of(4), **specs))
    y, back = jax.vjp(lambda x: function(x, masks), x)
    (dx,) = back(jnp.asarray(dy))
    for k, mask in enumerate(masks):
        forward = bn.batch_norm(x[k][mask], SCALE, sums="exact")
        want = bn.batch_norm_backward(np.ascontiguousarray(dy[k][mask]), forward)
        assert_all_bits((y[k][mask], dx[k][mask]), (forward.y, want.dx))


def test_one_of_two_axes_of_a_mesh() -> None:
    """Each row of devices has one batch; its columns have the parts of that batch."""
    x, dy = (draw(8, 6, 5, seed=k, dtype=np.float32) for k in (0, 3))
    mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("r", "d"))

    def part(x: Any, scale: Any) -> Any:
        return batch_norm(x, scale, sums="exact", axis_name=("d",)).y

    both = PartitionSpec(("r", "d"))
    specs = {"in_specs": (both, WHOLE), "out_specs": both}
    function = jax.jit(jax.shard_map(part, mesh=mesh, **specs))
    y, back = jax.vjp(function, x, SCALE)
    dx, dscale = back(jnp.asarray(dy))
    total = 0
    for rows in (slice(0, 4), slice(4, 8)):
        forward = bn.batch_norm(x[rows], SCALE, channel_axis=-1, sums="exact")
        want = bn.batch_norm_backward(dy[rows], forward)
        assert_all_bits((y[rows], dx[rows]), (forward.y, want.dx))
        total = total + want.dgamma
    assert parts(dscale, total) < 1e-6


def test_an_axis_of_vmap_is_refused() -> None:
    """The kernels add over devices."""
    x = draw(4, 6, 5, dtype=np.float32)
    with pytest.raises(RangeError, match=r"an axis_name outside jax\.shard_map"):
        jax.vmap(lambda x: batch_norm(x, sums="exact", axis_name="v").y, axis_name="v")(x)


@pytest.mark.parametrize(
    ("options", "dtype", "reason"),
    [
        ({"axis_index_groups": [[0, 1], [2, 3]]}, np.float32, "axis_index_groups"),
        ({}, np.float64, "float64 and a mask or an axis_name"),
    ],
)
@pytest.mark.usefixtures("x64")
def test_what_is_refused_on_devices(options: dict[str, Any], dtype: Any, reason: str) -> None:
    """With its reason."""
    with pytest.raises(RangeError, match=reason):
        spread(4, check=False, **options)(draw(*SHAPE, dtype=dtype), SCALE, BIAS)
