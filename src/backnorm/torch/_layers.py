"""The normalization layers that torch has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["LAYERS", "torch_layers"]

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


def torch_layers() -> Iterator[tuple[str, nn.Module]]:
    """Yield name and module of every normalization layer of the installed torch."""
    for name, arguments in LAYERS.items():
        cls = getattr(nn, name, None)
        if cls is not None:
            yield f"torch.nn.{name}", cls(**arguments)
