"""The normalization layers that torch has, and those of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from torch import nn

from backnorm.torch.engine import modules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["LAYERS", "OWN_LAYERS", "torch_layers"]

TRACKED: Final = {"num_features": 4, "affine": True, "track_running_stats": True}

LAYERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "BatchNorm1d": {"num_features": 4},
    "BatchNorm2d": {"num_features": 4},
    "BatchNorm3d": {"num_features": 4},
    "LayerNorm": {"normalized_shape": 6},
    "GroupNorm": {"num_groups": 2, "num_channels": 4},
    "InstanceNorm1d": TRACKED,
    "InstanceNorm2d": TRACKED,
    "InstanceNorm3d": TRACKED,
    "RMSNorm": {"normalized_shape": 6},
}
"""Names in torch.nn, and arguments. SyncBatchNorm runs on several GPUs only, and the local response
normalizations divide by sums over neighbours: they are none of the five kinds."""

OWN_LAYERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "BatchNorm1d": {"num_features": 4},
    "BatchNorm2d": {"num_features": 4},
    "BatchNorm3d": {"num_features": 4},
    "BatchNormAct2d": {"num_features": 4, "activation": "identity", "inplace": True},
    "FrozenBatchNorm2d": {"num_features": 4},
}
"""Names in backnorm.torch, and arguments: with an activation, a layer is no plain normalization."""


def torch_layers() -> Iterator[tuple[str, nn.Module]]:
    """Yield name and module of every normalization layer of the installed torch, and of ours."""
    for name, arguments in LAYERS.items():
        cls = getattr(nn, name, None)
        if cls is not None:
            yield f"torch.nn.{name}", cls(**arguments)
    for name, arguments in OWN_LAYERS.items():
        yield f"backnorm.torch.{name}", getattr(modules, name)(**arguments)
