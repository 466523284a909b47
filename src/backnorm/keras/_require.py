"""Say in plain words that Keras is missing, or that no engine serves its backend."""

from __future__ import annotations

import importlib.util
from typing import Final

from backnorm.errors import NotInstalledError, NotSupportedError

__all__ = ["BACKENDS", "require_keras"]

BACKENDS: Final = ("jax", "torch")
"""The backends of Keras that have an engine."""


def require_keras() -> None:
    """Raise an error if Keras is not there, or runs on a backend without an engine."""
    if importlib.util.find_spec("keras") is None:
        raise NotInstalledError.package("keras", "keras", "backnorm.keras")
    import keras  # noqa: PLC0415 - only when it is there

    backend = keras.backend.backend()
    if backend not in BACKENDS:
        raise NotSupportedError.keras_backend(backend, BACKENDS)
