"""What Keras and Flax do with a mask where a batch is cut into shards, and the truth beside it."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import backnorm as bn

if TYPE_CHECKING:
    from backnorm._types import AnyArray

PRECISION = 1e-6

X = np.random.default_rng(4).normal(2.0, 1.0, (3, 8, 1)).astype(np.float32)
X[1] += 6.0
"""Three shards of eight values; the second one lies elsewhere."""

MASK = np.zeros((3, 8), bool)
MASK[0, :6] = MASK[1, :2] = True
"""Six values count in the first shard, two in the second, none in the third."""


def truth(shards: int) -> tuple[float, float]:
    """Mean and variance of all values that count in so many shards, of Fractions."""
    values = [Fraction(float(v)) for v in X[:shards, :, 0][MASK[:shards]]]
    mean = sum(values) / len(values)
    return float(mean), float(sum((v - mean) ** 2 for v in values) / len(values))


def assert_ours_is_true(shards: int) -> None:
    """A masked call on all shards, and exact sums of each shard that are merged."""
    x, mask = X[:shards].reshape(-1, 1), MASK[:shards].ravel()
    fwd = bn.batch_norm(x, mask=mask)
    merged = bn.Moments()
    for shard, counts in zip(X[:shards], MASK[:shards], strict=True):
        part = bn.Moments()
        part.update(shard, mask=counts)
        merged.merge(part)
    for found in ((fwd.mean[0], fwd.var[0]), (merged.mean[0], merged.var[0])):
        assert np.abs(np.array(found) - truth(shards)).max() < PRECISION


def flax_statistics(shards: int) -> AnyArray:
    """Running statistics of each shard after a step with momentum 0, in one axis of vmap."""
    jax = pytest.importorskip("jax", reason="JAX is not installed; make test-frameworks has it")
    linen = pytest.importorskip("flax.linen", reason="Flax is not installed")
    layer = linen.BatchNorm(use_running_average=False, momentum=0.0, axis_name="ranks")

    def step(x: Any, mask: Any) -> Any:
        start = {name: {c: np.full(1, v) for c, v in of.items()} for name, of in STATE.items()}
        _, state = layer.apply(start, x, mask=mask[:, None], mutable=["batch_stats"])
        return state["batch_stats"]["mean"], state["batch_stats"]["var"]

    found = jax.vmap(step, axis_name="ranks")(X[:shards], MASK[:shards])
    return np.array(found)[..., 0]


STATE = {
    "params": {"scale": 1.0, "bias": 0.0},
    "batch_stats": {"mean": 0.0, "var": 1.0},
}


def test_flax_weights_shards_equally() -> None:
    """The mean of the means of shards: 2 values of the one count as much as 6 of the other."""
    mean, var = flax_statistics(2)[:, 0]
    means = [X[shard, :, 0][MASK[shard]].mean() for shard in range(2)]
    assert abs(mean - np.mean(means)) < PRECISION * 10
    true_mean, true_var = truth(2)
    assert abs(mean - true_mean) > 1.0
    assert abs(var - true_var) > 1.0
    assert_ours_is_true(2)


def test_flax_has_no_statistics_beside_an_empty_shard() -> None:
    """A shard in which nothing counts makes those of every shard NaN."""
    assert np.isnan(flax_statistics(3)).all()
    assert_ours_is_true(3)


def test_a_mask_switches_the_synchronization_of_keras_off() -> None:
    """Its moments take `synchronized`, which other backends than TensorFlow refuse; masked do not.

    The constructor refuses the argument on those backends, so it is set behind it.
    """
    keras = pytest.importorskip("keras", reason="Keras is not installed; make test-frameworks")
    means = []
    # Twice the same channel: Keras raises an IndexError for one channel with a mask.
    for shard, counts in zip(X[:2].repeat(2, axis=-1), MASK[:2], strict=True):
        layer = keras.layers.BatchNormalization(momentum=0.0)
        layer.synchronized = True
        with pytest.raises(NotImplementedError, match="synchronized"):
            layer(shard[None], training=True)
        layer(shard[None], training=True, mask=counts[None])
        means.append(float(layer.moving_mean.value[0]))
    local = [X[shard, :, 0][MASK[shard]].mean() for shard in range(2)]
    assert np.abs(np.subtract(means, local)).max() < PRECISION * 10
    assert abs(means[0] - means[1]) > 1.0
    assert_ours_is_true(2)
