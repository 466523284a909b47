"""Names of arrays and orders of axes in the target: renamed, matched and transposed."""

from __future__ import annotations

__all__: list[str] = []
