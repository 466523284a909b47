"""Names for the types in signatures."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "Activation",
    "AnyArray",
    "Float64Array",
    "Int64Array",
    "Request",
    "Shape",
    "SumLaw",
    "Synchronize",
    "Through",
    "Variance",
]

AnyArray: TypeAlias = npt.NDArray[Any]
Float64Array: TypeAlias = npt.NDArray[np.float64]
Int64Array: TypeAlias = npt.NDArray[np.int64]
Shape: TypeAlias = tuple[int, ...]

Activation: TypeAlias = Literal["identity", "relu", "relu6", "leaky_relu"]
Request: TypeAlias = Literal["write", "add", "null"]
SumLaw: TypeAlias = Literal["float64", "exact"]
Synchronize: TypeAlias = Literal["layer", "group", "step"]
Through: TypeAlias = Literal["both", "mean", "variance", "none"]
Variance: TypeAlias = Literal["total", "within"]
