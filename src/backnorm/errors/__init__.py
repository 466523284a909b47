"""Every exception and every message of backnorm.

A message says: what must hold and what was got, where the requirement comes from, what to do.
Each is built by a constructor here, so that a ``raise`` line elsewhere holds no string.
"""

from __future__ import annotations

from backnorm.errors.arguments import (
    DtypeError,
    NothingConvertedWarning,
    NotInstalledError,
    NotSupportedError,
    RangeError,
    ShapeError,
    SmallWeightWarning,
    StorageError,
    UnknownNameError,
)
from backnorm.errors.base import BacknormError
from backnorm.errors.bench import BenchmarkError
from backnorm.errors.files import ConversionError, FileError
from backnorm.errors.subjects import SubjectError

__all__ = [
    "BacknormError",
    "BenchmarkError",
    "ConversionError",
    "DtypeError",
    "FileError",
    "NotInstalledError",
    "NotSupportedError",
    "NothingConvertedWarning",
    "RangeError",
    "ShapeError",
    "SmallWeightWarning",
    "StorageError",
    "SubjectError",
    "UnknownNameError",
]
