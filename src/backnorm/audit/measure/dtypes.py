"""The floating-point dtypes that a subject may compute in, bfloat16 among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from backnorm._types import AnyArray

__all__ = ["DtypeInfo", "dtype_info"]

BFLOAT16: Final = "bfloat16"


@dataclass(frozen=True, slots=True)
class DtypeInfo:
    """The limits of a floating-point dtype.

    Attributes
    ----------
    name
        The name that NumPy or a framework uses.
    eps
        The distance from 1 to the next larger value.
    largest, smallest
        Largest finite and smallest normal value.
    """

    name: str
    eps: float
    largest: float
    smallest: float

    def rounded(self, values: AnyArray) -> AnyArray:
        """Round to the nearest value of the dtype, ties to even.

        Parameters
        ----------
        values
            float32, float64 or longdouble.

        Returns
        -------
        array
            In the dtype itself; bfloat16, which NumPy lacks, comes as float32.
        """
        with np.errstate(over="ignore", under="ignore"):
            if self.name != BFLOAT16:
                return np.asarray(values, dtype=np.dtype(self.name))
            bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
            ties = (bits >> 16) & 1
            high: AnyArray = ((bits + 0x7FFF + ties) >> 16 << 16).view(np.float32)
            return high


def dtype_info(name: str) -> DtypeInfo:
    """Return the limits of a dtype by its name, such as "float32" or "bfloat16"."""
    if name == BFLOAT16:
        wide = np.finfo(np.float32)
        return DtypeInfo(name, 2.0**-7, float(2 - 2.0**-7) * 2.0**127, float(wide.tiny))
    info = np.finfo(np.dtype(name))
    return DtypeInfo(name, float(info.eps), float(info.max), float(info.tiny))
