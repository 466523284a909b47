"""MXNet's `.params`, and the symbol file that describes the network."""

from __future__ import annotations

__all__: list[str] = []
