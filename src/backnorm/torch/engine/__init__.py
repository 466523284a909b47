"""Batch normalization of tensors by the engine: the operator, its derivatives, modules.

What users call is exported by `backnorm.torch`.
"""

from __future__ import annotations

__all__: list[str] = []
