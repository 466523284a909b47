"""Why a layer is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jax import numpy as jnp

from backnorm import _check

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["why_left_alone"]


def why_left_alone(layer: Any, stock: type, ours: type, dtypes: Iterable[Any]) -> str:
    """Return why a layer cannot be converted; "" if it can, or if it is ours."""
    if type(layer) is ours:
        return ""
    if type(layer) is not stock:
        return "an unknown subclass may compute something else"
    names = [jnp.dtype(dtype).name for dtype in dtypes if dtype is not None]
    other = next((name for name in names if name not in _check.DTYPES), "")
    return f"the engine does not compute {other}" if other else ""
