"""Caffe's `.caffemodel`, and what it is made of: the wire format, blobs, and the network's text."""

from __future__ import annotations

__all__: list[str] = []
