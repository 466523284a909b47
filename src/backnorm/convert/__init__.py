"""States and whole models carried from one dialect to another."""

from __future__ import annotations

__all__: list[str] = []
