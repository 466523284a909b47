"""What needs Keras 3, on JAX or PyTorch: its batch normalization by the engine."""

from __future__ import annotations

from backnorm.keras._require import require_keras

require_keras()

from backnorm.keras.conversion import convert, left_alone, revert  # noqa: E402 - if Keras is there
from backnorm.keras.layer import BatchNormalization  # noqa: E402

__all__ = ["BatchNormalization", "convert", "left_alone", "revert"]
