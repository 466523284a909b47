"""One file a framework: what its batch normalization computes, as data."""

from __future__ import annotations

__all__: list[str] = []
