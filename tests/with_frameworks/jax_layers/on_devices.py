"""Layers on two devices; test_devices.py runs this where JAX has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

from jax import numpy as jnp  # noqa: E402
from jax.sharding import Mesh, PartitionSpec  # noqa: E402

from with_frameworks.jax_layers.alike import assert_alike, draw, limit_of  # noqa: E402

X = jnp.asarray(draw(8, 6, 3), "float32")
COUNTS = np.random.default_rng(0).random((8, 6, 1)) < 0.6
COUNTS[:4] = False
CUT, WHOLE = PartitionSpec("d"), PartitionSpec()


def spread(function: Any, *operands: Any, whole: Any = (), check: bool = True) -> Any:
    """Return what a function of parts of the operands gives: parts of y, and one state.

    Operands that are whole come behind them.
    """
    mesh = Mesh(np.array(jax.devices()[:2]), ("d",))
    cut = tuple(CUT for _ in operands) + tuple(WHOLE for _ in whole)
    specs = {"in_specs": cut, "out_specs": (CUT, WHOLE), "check_vma": check}
    return jax.jit(jax.shard_map(function, mesh=mesh, **specs))(*operands, *whole)


def test_linen_with_a_mask_that_leaves_one_part_out() -> None:
    """Statistics are those of what counts, on both devices."""
    nn = pytest.importorskip("flax.linen", reason="Flax is not installed")
    from backnorm.jax.layers import linen  # noqa: PLC0415 - where Flax is

    layer = linen.BatchNorm(use_running_average=False, axis_name="d")
    stock = nn.BatchNorm(use_running_average=False)
    first = layer.init(jax.random.key(0), X)

    def part(x: Any, mask: Any) -> Any:
        return layer.apply(first, x, mask=mask, mutable=["batch_stats"])

    want = stock.apply(first, X, mask=COUNTS, mutable=["batch_stats"])
    assert_alike(spread(part, X, jnp.asarray(COUNTS)), want, limit_of("float32"))


def test_nnx() -> None:
    """A gradient too."""
    nnx = pytest.importorskip("flax.nnx", reason="Flax is not installed")
    from backnorm.jax.layers import nnx as ours  # noqa: PLC0415 - where Flax is

    def run(layer: Any, x: Any) -> Any:
        graph, state = nnx.split(layer)

        def normalized(x: Any) -> Any:
            made = nnx.merge(graph, jax.tree.map(jnp.copy, state))
            return made(x), nnx.state(made, nnx.BatchStat)

        def total(x: Any) -> Any:
            return (normalized(x)[0] ** 3).sum()

        y, kept = normalized(x)
        return (y, jax.grad(total)(x)), jax.tree.leaves(kept)

    layer = ours.BatchNorm(3, axis_name="d", rngs=nnx.Rngs(0))
    want = run(nnx.BatchNorm(3, rngs=nnx.Rngs(0)), X)
    assert_alike(spread(lambda x: run(layer, x), X), want, limit_of("float32"))


@pytest.mark.parametrize("mode", ["batch", "ema"])
def test_equinox_over_samples_and_devices(mode: str) -> None:
    """Two named axes: that of vmap, and that of the devices."""
    eqx = pytest.importorskip("equinox", reason="Equinox is not installed")
    from backnorm.jax.layers.equinox import BatchNorm  # noqa: PLC0415 - where Equinox is

    def over(layer: Any) -> Any:
        return jax.vmap(layer, axis_name="batch", in_axes=(0, None), out_axes=(0, None))

    both = ((eqx.nn.BatchNorm, "batch"), (BatchNorm, ("batch", "d")))
    theirs, ours = (
        eqx.nn.make_with_state(cls)(3, axis_name=names, mode=mode) for cls, names in both
    )
    x = jnp.moveaxis(X, -1, 1)
    # JAX does not check what varies for a sum over an axis of vmap and one of devices at once.
    y, after = spread(over(ours[0]), x, whole=(ours[1],), check=False)
    want, kept = over(theirs[0])(x, theirs[1])
    assert_alike(y, want, limit_of("float32"))
    assert_alike(jax.tree.leaves(after), jax.tree.leaves(kept), limit_of("float32"))


def test_haiku() -> None:
    """cross_replica_axis."""
    hk = pytest.importorskip("haiku", reason="Haiku is not installed")
    from backnorm.jax.layers import haiku  # noqa: PLC0415 - where Haiku is

    def run(cls: Any, **options: Any) -> Any:
        layer = lambda x: cls(True, True, 0.9, name="norm", **options)(x, True)  # noqa: E731, FBT003
        return hk.transform_with_state(layer)

    whole, parts = run(hk.BatchNorm), run(haiku.BatchNorm, cross_replica_axis="d")
    made = whole.init(None, X)
    got = spread(lambda x: parts.apply(*made, None, x), X)
    assert_alike(got, whole.apply(*made, None, X), limit_of("float32"))
