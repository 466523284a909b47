"""Every exception and every message of backnorm.

A message says: what must hold and what was got, where the requirement comes from, what to do.
Each is built by a constructor here, so that a ``raise`` line elsewhere holds no string.
"""

from __future__ import annotations

from backnorm.errors.arrays import DtypeError, ShapeError, StorageError
from backnorm.errors.base import BacknormError
from backnorm.errors.bench import BenchmarkError
from backnorm.errors.conversion import ConversionError
from backnorm.errors.files import FileError
from backnorm.errors.folding import FoldError
from backnorm.errors.kernels import KernelError
from backnorm.errors.names import ArrayNameError
from backnorm.errors.programs import ProgramError
from backnorm.errors.ranges import RangeError
from backnorm.errors.ranks import RankError
from backnorm.errors.settings import SettingsError
from backnorm.errors.subjects import SubjectError
from backnorm.errors.support import (
    NothingConvertedWarning,
    NotInstalledError,
    NotSupportedError,
    SmallWeightWarning,
    UnknownNameError,
)
from backnorm.errors.written import WriteError

__all__ = [
    "ArrayNameError",
    "BacknormError",
    "BenchmarkError",
    "ConversionError",
    "DtypeError",
    "FileError",
    "FoldError",
    "KernelError",
    "NotInstalledError",
    "NotSupportedError",
    "NothingConvertedWarning",
    "ProgramError",
    "RangeError",
    "RankError",
    "SettingsError",
    "ShapeError",
    "SmallWeightWarning",
    "StorageError",
    "SubjectError",
    "UnknownNameError",
    "WriteError",
]
