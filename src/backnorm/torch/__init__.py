"""What needs PyTorch: the engine for tensors, modules, and the audit of a whole model.

`batch_norm` and the modules take the place of their namesakes in torch.nn.
"""

from __future__ import annotations

from backnorm.torch._require import require_torch

require_torch()

from backnorm.torch.conversion import (  # noqa: E402 - only when torch is there
    conversion_report,
    convert,
    revert,
    unfused,
)
from backnorm.torch.distributed.merging import merge_statistics  # noqa: E402
from backnorm.torch.distributed.modules import SyncBatchNorm  # noqa: E402
from backnorm.torch.engine.functional import batch_norm  # noqa: E402
from backnorm.torch.engine.layers import (  # noqa: E402
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    BatchNormAct1d,
    BatchNormAct2d,
    BatchNormAct3d,
    BatchRenorm1d,
    BatchRenorm2d,
    BatchRenorm3d,
    FrozenBatchNorm2d,
    GhostBatchNorm1d,
    GhostBatchNorm2d,
    GhostBatchNorm3d,
)
from backnorm.torch.model.audit import audit_model  # noqa: E402
from backnorm.torch.recalibration import accumulate, update_bn  # noqa: E402

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "BatchNormAct1d",
    "BatchNormAct2d",
    "BatchNormAct3d",
    "BatchRenorm1d",
    "BatchRenorm2d",
    "BatchRenorm3d",
    "FrozenBatchNorm2d",
    "GhostBatchNorm1d",
    "GhostBatchNorm2d",
    "GhostBatchNorm3d",
    "SyncBatchNorm",
    "accumulate",
    "audit_model",
    "batch_norm",
    "conversion_report",
    "convert",
    "merge_statistics",
    "revert",
    "unfused",
    "update_bn",
]
