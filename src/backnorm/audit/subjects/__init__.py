"""How an object becomes a subject: adapters, one for each framework, and what they share."""

from __future__ import annotations

__all__: list[str] = []
