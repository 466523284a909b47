"""ONNX's `.onnx`: the format itself, and its parts (graph, tensors, new models, folding)."""

from __future__ import annotations

__all__: list[str] = []
