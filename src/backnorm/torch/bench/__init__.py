"""The benchmarks of PyTorch: networks (`models`), `training` steps, one layer (`layer_step`)."""

from __future__ import annotations

__all__: list[str] = []
