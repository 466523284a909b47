"""Batch normalization of tensors by the engine: the operator, its derivatives, the modules.

`backnorm.torch` exports the public functions and modules.
"""

from __future__ import annotations

__all__: list[str] = []
