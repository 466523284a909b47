"""Batch normalizations in models of flax.nnx: the object stays, its class changes."""

from __future__ import annotations

from typing import Any, Final

from flax import nnx

from backnorm.jax.conversion import _reasons
from backnorm.jax.layers.nnx import BatchNorm

__all__ = ["HOME", "OURS", "STOCK", "found", "knows", "why_left_alone", "with_classes"]

HOME: Final = "flax.nnx"
STOCK: Final = nnx.BatchNorm
OURS: Final = BatchNorm


def knows(model: Any) -> bool:
    """Whether an object is a model of flax.nnx."""
    return isinstance(model, nnx.Module)


def found(model: nnx.Module) -> list[tuple[str, Any]]:
    """Return the batch normalizations of a model with their paths, each once."""
    # Older versions of Flax have a method.
    modules = nnx.iter_modules(model) if hasattr(nnx, "iter_modules") else model.iter_modules()
    layers = [(".".join(map(str, path)), module) for path, module in modules]
    return [(name, layer) for name, layer in layers if isinstance(layer, STOCK)]


def why_left_alone(layer: Any) -> str:
    """Return why a layer cannot be converted; "" if it can."""
    kept = (layer.scale, layer.bias, layer.mean, layer.var)
    dtypes = [layer.dtype, *(value[...].dtype for value in kept if value is not None)]
    return _reasons.why_left_alone(layer, STOCK, OURS, dtypes)


def with_classes(model: nnx.Module, before: type, after: type) -> nnx.Module:
    """Give layers of a class another one; variables and references to the layers stay."""
    for _, layer in found(model):
        if type(layer) is before and not why_left_alone(layer):
            object.__setattr__(layer, "__class__", after)
    return model
