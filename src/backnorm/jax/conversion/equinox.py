"""Batch normalizations in trees of Equinox: a new tree with the same arrays and fields."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import equinox
import jax

from backnorm.jax.conversion import _reasons
from backnorm.jax.layers.equinox import BatchNorm

__all__ = ["HOME", "OURS", "STOCK", "found", "knows", "why_left_alone", "with_classes"]

HOME: Final = "equinox.nn"
STOCK: Final = equinox.nn.BatchNorm
OURS: Final = BatchNorm


def knows(model: Any) -> bool:
    """Whether an object is a tree that has modules of Equinox."""
    leaves = jax.tree_util.tree_leaves(model, is_leaf=_is_module)
    return any(map(_is_module, leaves))


def found(model: Any) -> list[tuple[str, Any]]:
    """Return the batch normalizations of a tree with their paths."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(model, is_leaf=_is_norm)
    return [
        (jax.tree_util.keystr(path).lstrip("."), leaf) for path, leaf in leaves if _is_norm(leaf)
    ]


def why_left_alone(layer: Any) -> str:
    """Return why a layer cannot be converted; "" if it can."""
    given = (getattr(value, "dtype", None) for value in (layer.weight, layer.bias))
    return _reasons.why_left_alone(layer, STOCK, OURS, given)


def with_classes(model: Any, before: type, after: type) -> Any:
    """Return the tree with layers of another class; states are found by the same indices."""

    def other(leaf: Any) -> Any:
        alike = type(leaf) is before and not why_left_alone(leaf)
        return _in_class(leaf, after) if alike else leaf

    return jax.tree_util.tree_map(other, model, is_leaf=_is_norm)


def _is_module(value: Any) -> bool:
    return isinstance(value, equinox.Module)


def _is_norm(value: Any) -> bool:
    return isinstance(value, STOCK)


def _in_class(layer: Any, cls: type) -> Any:
    """Return a layer of a class with the fields of another one; the constructor has other names."""
    made: Any = object.__new__(cls)
    for field in dataclasses.fields(layer):
        object.__setattr__(made, field.name, getattr(layer, field.name))
    return made
