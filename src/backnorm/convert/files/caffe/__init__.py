"""Caffe's `.caffemodel`: the format itself, and its parts (wire format, blobs, network text)."""

from __future__ import annotations

__all__: list[str] = []
