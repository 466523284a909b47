"""Dtypes that NumPy alone does not have."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING

import numpy as np

from backnorm.errors import NotInstalledError

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Float64Array

__all__ = ["BEYOND_NUMPY", "dtype_named", "rounded", "widened"]

BEYOND_NUMPY = ("bfloat16", "float8_e4m3fn", "float8_e5m2")

ADDED = 2
"""What `numpy.dtype.isbuiltin` says of a dtype that another package has added."""


def dtype_named(name: str) -> np.dtype:
    """Return the dtype of a name.

    Parameters
    ----------
    name
        Such as "float32" or "bfloat16".

    Returns
    -------
    numpy.dtype
        The dtype; ml_dtypes provides those that NumPy does not have.

    Raises
    ------
    NotInstalledError
        If it needs ml_dtypes, which is not installed.
    """
    if name not in BEYOND_NUMPY:
        return np.dtype(name)
    if importlib.util.find_spec("ml_dtypes") is None:
        raise NotInstalledError.package("ml_dtypes", "files", f"An array of {name}")
    beyond: np.dtype = np.dtype(getattr(importlib.import_module("ml_dtypes"), name))
    return beyond


def widened(array: AnyArray) -> AnyArray:
    """Return an array as float32 where NumPy does not have its dtype; float32 holds its values."""
    return array.astype(np.float32) if array.dtype.isbuiltin == ADDED else array


def rounded(values: Float64Array, dtype: np.dtype) -> AnyArray:
    """Round float64 once to a narrower dtype, ties to even; what is too large becomes infinite.

    Parameters
    ----------
    values
        Real numbers.
    dtype
        Of real numbers, of NumPy or of ml_dtypes.

    Returns
    -------
    numpy.ndarray
        The nearest values.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return (_to_odd(values) if dtype.isbuiltin == ADDED else values).astype(dtype)


def _to_odd(values: Float64Array) -> AnyArray:
    """Return float32 that round to a narrower dtype as the float64 do.

    ml_dtypes goes by way of float32, which would round twice: 1 + 2^-8 + 2^-40 would become 1 in
    bfloat16. Where float32 is not exact, the neighbour whose last bit is 1 lies on the same side of
    every tie.
    """
    narrow = values.astype(np.float32)
    back = narrow.astype(np.float64)
    bits = np.ascontiguousarray(narrow).view(np.uint32)
    bits = bits - (np.abs(back) > np.abs(values)).astype(np.uint32)  # towards 0
    bits |= (np.isfinite(values) & (back != values)).astype(np.uint32)
    return bits.view(np.float32)
