"""Batch normalization over several processes, on torch.distributed: the same bits for any number.

`engine.functional` and the module `SyncBatchNorm` call `passes`. Nothing below them knows it.
"""

from __future__ import annotations

__all__: list[str] = []
