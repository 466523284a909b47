"""Say in plain words that JAX is missing, before anything else is imported."""

from __future__ import annotations

import importlib.util

from backnorm.errors import NotInstalledError

__all__ = ["require_jax"]


def require_jax() -> None:
    """Raise NotInstalledError if JAX is not there."""
    if importlib.util.find_spec("jax") is None:
        raise NotInstalledError.package("jax", "jax", "backnorm.jax")
