"""Networks, training steps and single layers of PyTorch, for `backnorm bench` to time."""

from __future__ import annotations

__all__: list[str] = []
