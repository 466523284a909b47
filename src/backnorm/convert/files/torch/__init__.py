"""PyTorch's files, read as data: nothing that a file names is looked up or run."""

from __future__ import annotations

__all__: list[str] = []
