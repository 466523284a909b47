"""Numbers about a subject, without an opinion on them: the verdict and the probes judge."""

from __future__ import annotations

__all__: list[str] = []
