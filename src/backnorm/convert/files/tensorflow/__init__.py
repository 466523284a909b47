"""TensorFlow's SavedModel, TensorFlow.js and TensorFlow Lite, which are only read."""

from __future__ import annotations

__all__: list[str] = []
