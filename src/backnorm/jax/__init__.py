"""What needs JAX: the engine as a function that can be compiled, differentiated and mapped."""

from __future__ import annotations

from backnorm.jax._require import require_jax

require_jax()

from backnorm.jax.engine.functional import batch_norm  # noqa: E402 - only when JAX is there
from backnorm.jax.engine.result import NormalizedBatch  # noqa: E402

__all__ = ["NormalizedBatch", "batch_norm"]
