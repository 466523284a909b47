"""Batch normalization over several processes, on torch.distributed: the same bits for any number.

Nothing below knows this package.
"""

from __future__ import annotations

__all__: list[str] = []
