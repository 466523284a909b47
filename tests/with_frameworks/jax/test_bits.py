"""On the CPU the kernels compute: every bit is that of the NumPy functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import ml_dtypes  # noqa: E402 - beside JAX
from jax import numpy as jnp  # noqa: E402

import backnorm as bn  # noqa: E402
from backnorm.jax import batch_norm  # noqa: E402
from backnorm.jax.engine import handlers  # noqa: E402
from backnorm.testing.budget import assert_bits  # noqa: E402
from with_frameworks.jax.formulas import ACTIVATIONS, draw  # noqa: E402

pytestmark = pytest.mark.skipif(
    not handlers.has_kernels(), reason="the C++ part was built without the headers of jaxlib"
)

THROUGH = ("both", "mean", "variance", "none")
SCALE, BIAS = draw(6, seed=1, dtype=np.float32), draw(6, seed=2, dtype=np.float32)


def assert_same_bits(x: Any, dy: Any, **options: Any) -> None:
    """Compare y, all gradients and the statistics, compiled, with those of the NumPy functions."""
    through, sums = options.pop("through", "both"), options.pop("sums", "float64")
    wide = np.float64 if x.dtype == np.float64 else np.float32
    scale, bias = SCALE.astype(wide), BIAS.astype(wide)
    forward = bn.batch_norm(x, scale, bias, channel_axis=1, sums=sums, **options)
    want = bn.batch_norm_backward(dy, forward, through=through)
    arrays = {"x": x, "scale": scale, "bias": bias}
    if "residual" in options:
        arrays["residual"] = options.pop("residual")
    if "running_mean" in options:
        arrays["mean"], arrays["var"] = options.pop("running_mean"), options.pop("running_var")

    def run(arrays: dict[str, Any]) -> Any:
        batch = batch_norm(**arrays, axis=1, through=through, sums=sums, **options)
        return batch.y, batch

    y, back, batch = jax.vjp(jax.jit(run), arrays, has_aux=True)
    (got,) = back(jnp.asarray(dy))
    assert_bits(np.asarray(y), forward.y)
    assert_bits(np.asarray(got["x"]), want.dx)
    assert_bits(np.asarray(got["scale"]), want.dgamma)
    assert_bits(np.asarray(got["bias"]), want.dbeta)
    if "residual" in arrays:
        assert_bits(np.asarray(got["residual"]), want.dresidual)
    for name in ("mean", "var", "inv_std") if "mean" not in arrays else ():
        values = np.asarray(getattr(batch, name))
        with np.errstate(over="ignore"):  # of numbers around 1e-42 inv_std is infinite in float32
            assert_bits(values, getattr(forward, name).astype(values.dtype))
    assert int(batch.n) == forward.n


@pytest.mark.parametrize("sums", ["float64", "exact"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("shape", [(4, 6, 7, 5), (33, 6), (2, 6, 300)])
def test_each_dtype(shape: tuple[int, ...], dtype: Any, sums: str) -> None:
    """With the default law and with exact sums."""
    assert_same_bits(draw(*shape, dtype=dtype), draw(*shape, seed=3, dtype=dtype), sums=sums)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("with_residual", [False, True])
def test_each_activation(activation: str, with_residual: bool) -> None:  # noqa: FBT001
    """Alone, and after a residual."""
    x, dy, residual = (draw(4, 6, 7, seed=k, dtype=np.float32) for k in range(3))
    options = {"residual": residual} if with_residual else {}
    assert_same_bits(x, dy, activation=activation, **options)


@pytest.mark.parametrize("through", THROUGH)
def test_each_cut(through: str) -> None:
    """Whichever statistics the gradient goes through."""
    x, dy = (draw(4, 6, 7, seed=k, dtype=np.float32) for k in range(2))
    assert_same_bits(x, dy, through=through)


def test_given_statistics() -> None:
    """They are frozen."""
    x, dy = (draw(4, 6, 7, seed=k, dtype=np.float32) for k in range(2))
    mean, var = draw(6, seed=4, dtype=np.float32), draw(6, seed=5, dtype=np.float32) ** 2
    assert_same_bits(x, dy, running_mean=mean, running_var=var, activation="relu")


@pytest.mark.parametrize("factor", [1e-42, 1e-30, 1e30])
def test_numbers_that_xla_takes_for_zero(factor: float) -> None:
    """The kernels compute with subnormal numbers, whatever XLA does in its threads."""
    x, dy = (draw(4, 6, 7, seed=k) for k in range(2))
    assert_same_bits((x * factor).astype(np.float32), dy.astype(np.float32), eps=0.0)


@pytest.mark.usefixtures("x64")
def test_float64() -> None:
    """Where JAX has it."""
    x, dy = (draw(4, 6, 7, seed=k) for k in range(2))
    assert_same_bits(x, dy)


def test_without_parameters() -> None:
    """None stands for 1 and for 0."""
    x = draw(4, 6, 7, dtype=np.float32)
    assert_bits(np.asarray(batch_norm(x, axis=1).y), bn.batch_norm(x).y)


def test_calls_from_numpy_keep_their_bits() -> None:
    """The threads that a call from XLA starts compute as usual for all later calls."""
    x = draw(4, 6, 4096, dtype=np.float32)
    tiny = (x * 1e-42).astype(np.float32)
    before = bn.batch_norm(tiny, eps=0.0).y
    jax.block_until_ready(batch_norm(x, axis=1))
    assert_bits(bn.batch_norm(tiny, eps=0.0).y, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_exact_sums_of_what_counts(dtype: Any) -> None:
    """With a mask; what does not count is NaN. All is as of the values that count."""
    mask = np.random.default_rng(0).random((4, 7)) < 0.6
    clean, dy = (draw(4, 7, 6, seed=k, dtype=dtype) for k in (0, 3))
    x = np.where(mask[..., None], clean, dtype(np.nan))
    forward = bn.batch_norm(clean[mask], SCALE, BIAS, sums="exact", activation="relu")
    want = bn.batch_norm_backward(np.ascontiguousarray(dy[mask]), forward)

    def run(x: Any, scale: Any, bias: Any) -> Any:
        batch = batch_norm(x, scale, bias, mask=mask, sums="exact", activation="relu")
        return batch.y, batch

    y, back, batch = jax.vjp(jax.jit(run), x, SCALE, BIAS, has_aux=True)
    dx, dscale, dbias = map(np.asarray, back(jnp.asarray(dy)))
    assert_bits(np.asarray(y)[mask], forward.y)
    assert_bits(dx[mask], want.dx)
    assert_bits(dscale, want.dgamma)
    assert_bits(dbias, want.dbeta)
    assert not np.asarray(y)[~mask].any()
    assert not dx[~mask].any()
    assert_bits(np.asarray(batch.var), forward.var.astype(np.float32))
    assert int(batch.n) == forward.n
