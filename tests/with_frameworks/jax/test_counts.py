"""Masks, and batches that are spread over a mapped axis: every value that counts has one weight."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

from jax import numpy as jnp  # noqa: E402

from backnorm.jax import batch_norm  # noqa: E402
from with_frameworks.jax.formulas import draw, normalized, parts  # noqa: E402

pytestmark = pytest.mark.usefixtures("way", "x64")

CLOSE = 1e-11
X, WEIGHTS = draw(4, 3, 5), draw(4, 3, 5, seed=4)
SCALE, BIAS = draw(5, seed=1), draw(5, seed=2)
MASK = np.array(
    [[True, False, True], [False, False, False], [True, True, True], [False, True, False]]
)


@pytest.mark.parametrize("through", ["both", "mean", "variance", "none"])
def test_a_mask_leaves_out_what_does_not_count(through: str) -> None:
    """Statistics, output and gradients to the second order, also where x is not finite."""

    def results(function: Any, x: Any) -> Any:
        def loss(x: Any, scale: Any, bias: Any) -> Any:
            y = function(x, scale, bias, mask=MASK, through=through)
            return jnp.sin(WEIGHTS * y).sum()

        return jax.value_and_grad(loss, (0, 1, 2))(x, SCALE, BIAS), jax.hessian(loss)(
            x, SCALE, BIAS
        )

    def ours(*operands: Any, **options: Any) -> Any:
        return batch_norm(*operands, **options).y

    dirty = np.where(MASK[..., None], X, np.nan)
    assert parts(results(ours, dirty), results(normalized, X)) < CLOSE


def test_a_mask_counts_in_the_result() -> None:
    """n, mean and var are those of the values that count."""
    batch = jax.jit(batch_norm)(X, mask=MASK)
    counted = X[MASK]
    assert int(batch.n) == len(counted)
    assert parts((batch.mean, batch.var), (counted.mean(0), counted.var(0))) < CLOSE


def test_a_named_axis_belongs_to_the_batch() -> None:
    """As Equinox does: each sample by itself, statistics over the axis of vmap."""

    def results(x: Any) -> Any:
        def one(x: Any) -> Any:
            return batch_norm(x, SCALE, BIAS, axis_name="batch", activation="relu")

        return jax.vmap(one, axis_name="batch")(x)

    batch = results(X)
    assert parts(batch.y, normalized(X, SCALE, BIAS, activation="relu")) < CLOSE
    assert batch.n.tolist() == [12] * 4

    def gradient(y_of: Any) -> Any:
        return jax.grad(lambda x: jnp.sin(WEIGHTS * y_of(x)).sum())(X)

    want = gradient(lambda x: normalized(x, SCALE, BIAS, activation="relu"))
    assert parts(gradient(lambda x: results(x).y), want) < CLOSE


def test_parts_weigh_by_their_counts() -> None:
    """One of the four parts counts nowhere: no NaN, in no gradient."""

    def results(function: Any) -> Any:
        return jax.grad(lambda x: (WEIGHTS * function(x)).sum())(X), function(X)

    def spread(x: Any) -> Any:
        def part(x: Any, mask: Any) -> Any:
            return batch_norm(x, SCALE, BIAS, mask=mask, axis_name="batch").y

        return jax.vmap(part, axis_name="batch")(x, MASK)

    assert parts(results(spread), results(lambda x: normalized(x, SCALE, BIAS, mask=MASK))) < CLOSE


def test_nothing_counts_at_all() -> None:
    """y is 0, and no NaN comes out of it."""
    batch = batch_norm(X, mask=np.zeros((4, 3), bool))
    gradient = jax.grad(lambda x: batch_norm(x, mask=np.zeros((4, 3), bool)).y.sum())(X)
    assert int(batch.n) == 0
    assert not np.asarray(batch.y).any()
    assert not np.asarray(gradient).any()


def test_given_statistics_take_no_part_in_it() -> None:
    """They are the same for all parts; a mask still counts."""
    mean, var = draw(5, seed=8), draw(5, seed=9) ** 2 + 0.5
    want = np.where(MASK[..., None], (X - mean) / np.sqrt(var + 1e-5), 0)
    batch = batch_norm(X, mean=mean, var=var, mask=MASK, axis_name="nobody")
    assert parts(batch.y, want) < CLOSE
    assert int(batch.n) == MASK.sum()
