"""What needs JAX: the engine as a function that can be compiled, differentiated and mapped."""

from __future__ import annotations

from backnorm.jax._require import require_jax

require_jax()

from backnorm.jax.conversion import (  # noqa: E402 - only when JAX is there
    ConversionRow,
    JaxReport,
    conversion_report,
    convert,
    revert,
)
from backnorm.jax.engine.functional import batch_norm  # noqa: E402
from backnorm.jax.engine.result import NormalizedBatch  # noqa: E402

__all__ = [
    "ConversionRow",
    "JaxReport",
    "NormalizedBatch",
    "batch_norm",
    "conversion_report",
    "convert",
    "revert",
]
