"""How exact jax.numpy is where the kernels are not, in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

from jax import numpy as jnp  # noqa: E402

from backnorm import reference  # noqa: E402
from backnorm.jax import batch_norm  # noqa: E402
from backnorm.testing.budget import units  # noqa: E402

pytestmark = pytest.mark.usefixtures("way")

UNITS = 3.0
"""The largest error of the formulas in jax.numpy: the statistics are sums of float32, in blocks.
Measured: 1.6."""


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e2, 1e4, 1e6])
@pytest.mark.parametrize("axis", [1, -1])
def test_errors_do_not_grow_with_the_offset(axis: int, offset: float) -> None:
    """Of y and dx, and of dscale and dbias relative to the size of their terms."""
    rng = np.random.default_rng(0)
    shape = (32, 4, 28, 28) if axis == 1 else (32, 28, 28, 4)
    x, dy = (rng.normal(size=shape) + at for at in (offset, 0.0))
    x, dy = x.astype(np.float32), dy.astype(np.float32)
    scale, bias = rng.uniform(1.5, 3, (2, 4)).astype(np.float32)

    @jax.jit
    def run(*operands: Any) -> Any:
        y, back = jax.vjp(lambda *a: batch_norm(*a, axis=axis).y, *operands)
        return y, *back(jnp.asarray(dy))

    got = [np.asarray(value) for value in run(x, scale, bias)]
    forward = reference.forward(x, scale, bias, channel_axis=axis)
    gradients = reference.backward(dy, x, scale, channel_axis=axis)
    others = tuple(k for k in range(x.ndim) if k != axis % x.ndim)
    assert units(got[0], forward.y, channel_axis=axis).max() < UNITS
    assert units(got[1], gradients.dx, channel_axis=axis).max() < UNITS
    terms = np.abs(dy * forward.x_hat).sum(others), np.abs(dy).sum(others)
    assert units(got[2], gradients.dgamma, scale=terms[0]).max() < UNITS
    assert units(got[3], gradients.dbeta, scale=terms[1]).max() < UNITS
