"""Forward and backward of a batch normalization, compiled: `backnorm bench --op jax` times it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from backnorm.jax.engine.functional import batch_norm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm._types import AnyArray

__all__ = ["JaxStep"]


class JaxStep:
    """The function with its arguments; each call allocates its results anew, as XLA does.

    Parameters
    ----------
    x, dy
        Input and gradient of the output: (N, C, ...), in any memory layout.
    gamma, beta
        Shape (C,).
    layout
        Where JAX has the channels: "nchw" at axis 1, "nhwc" last.
    """

    def __init__(
        self, x: AnyArray, dy: AnyArray, gamma: AnyArray, beta: AnyArray, *, layout: str
    ) -> None:
        if x.dtype == np.float64:
            jax.config.update("jax_enable_x64", val=True)
        last = layout == "nhwc"
        self._order = (0, *range(2, x.ndim), 1) if last else tuple(range(x.ndim))
        axis = self._order.index(1)

        def step(x: Any, gamma: Any, beta: Any, dy: Any) -> tuple[Any, ...]:
            def forward(x: Any, gamma: Any, beta: Any) -> Any:
                return batch_norm(x, gamma, beta, axis=axis).y

            y, pull = jax.vjp(forward, x, gamma, beta)
            return y, *pull(dy)

        self._step = jax.jit(step)
        arrays = (_ordered(x, self._order), gamma, beta, _ordered(dy, self._order))
        self._arguments = tuple(jax.numpy.asarray(array) for array in arrays)

    def __call__(self) -> Sequence[Any]:
        """Return y, dx, dgamma and dbeta."""
        found: Sequence[Any] = jax.block_until_ready(self._step(*self._arguments))
        return found

    def results(self) -> dict[str, AnyArray]:
        """Return the results of a call with the channels at axis 1."""
        y, dx, dgamma, dbeta = map(np.asarray, self())
        back = np.argsort(self._order)
        return {"y": y.transpose(back), "dx": dx.transpose(back), "dgamma": dgamma, "dbeta": dbeta}


def _ordered(array: AnyArray, order: tuple[int, ...]) -> AnyArray:
    return np.ascontiguousarray(array.transpose(order))
