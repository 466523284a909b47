"""The audit of a whole model: each of its normalization layers, in its place."""

from __future__ import annotations

__all__: list[str] = []
