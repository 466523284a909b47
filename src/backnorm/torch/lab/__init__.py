"""What the lab trains: two small `networks` on handwritten digits, and the `training` itself."""

from __future__ import annotations

__all__: list[str] = []
