"""Formats that a subject may compute in, with what NumPy does not say of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from backnorm._types import AnyArray

__all__ = ["Format", "format_of"]

BFLOAT16: Final = "bfloat16"


@dataclass(frozen=True, slots=True)
class Format:
    """A floating-point format.

    Attributes
    ----------
    name
        As NumPy or a framework calls it.
    eps
        From 1 to the next larger value.
    largest, smallest
        Largest finite and smallest normal value.
    """

    name: str
    eps: float
    largest: float
    smallest: float

    def rounded(self, values: AnyArray) -> AnyArray:
        """Round to the nearest value of the format, ties to even.

        Parameters
        ----------
        values
            float32, float64 or longdouble.

        Returns
        -------
        array
            In the format itself; of bfloat16, which NumPy has not, in float32.
        """
        with np.errstate(over="ignore", under="ignore"):
            if self.name != BFLOAT16:
                return np.asarray(values, dtype=np.dtype(self.name))
            bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
            ties = (bits >> 16) & 1
            high: AnyArray = ((bits + 0x7FFF + ties) >> 16 << 16).view(np.float32)
            return high


def format_of(name: str) -> Format:
    """Return the format of a name, such as "float32" or "bfloat16"."""
    if name == BFLOAT16:
        wide = np.finfo(np.float32)
        return Format(name, 2.0**-7, float(2 - 2.0**-7) * 2.0**127, float(wide.tiny))
    info = np.finfo(np.dtype(name))
    return Format(name, float(info.eps), float(info.max), float(info.tiny))
