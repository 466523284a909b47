"""Fold batch norm into the layer before it: the law, the reasons against it, and state_dicts."""

from __future__ import annotations

__all__: list[str] = []
