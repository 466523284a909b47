"""One file a dialect: what a framework's batch normalization computes, as data."""

from __future__ import annotations

__all__: list[str] = []
