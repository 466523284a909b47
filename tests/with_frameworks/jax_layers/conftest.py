"""float64 where a test asks for it."""

from __future__ import annotations

from with_frameworks.jax.conftest import x64

__all__ = ["x64"]
