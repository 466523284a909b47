"""Keras's `.keras` and `.h5`, and their parts (HDF5, configuration, graph, kernels)."""

from __future__ import annotations

__all__: list[str] = []
