"""All layers of the engine, by their files."""

from __future__ import annotations

from typing import Final

from backnorm.torch.engine import modules
from backnorm.torch.engine.ghost import GhostBatchNorm1d, GhostBatchNorm2d, GhostBatchNorm3d
from backnorm.torch.engine.modules import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    BatchNormAct1d,
    BatchNormAct2d,
    BatchNormAct3d,
    FrozenBatchNorm2d,
)
from backnorm.torch.engine.renorm import BatchRenorm1d, BatchRenorm2d, BatchRenorm3d

__all__ = [
    "LAYERS",
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
]

LAYERS: Final = (
    *modules.LAYERS,
    GhostBatchNorm1d,
    GhostBatchNorm2d,
    GhostBatchNorm3d,
    BatchRenorm1d,
    BatchRenorm2d,
    BatchRenorm3d,
)
