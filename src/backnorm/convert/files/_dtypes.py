"""Dtypes that NumPy alone does not have."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING

import numpy as np

from backnorm.errors import NotInstalledError

if TYPE_CHECKING:
    from backnorm._types import AnyArray

__all__ = ["BEYOND_NUMPY", "dtype_named", "widened"]

BEYOND_NUMPY = ("bfloat16", "float8_e4m3fn", "float8_e5m2")


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
    return array.astype(np.float32) if array.dtype.name in BEYOND_NUMPY else array
