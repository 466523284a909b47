"""Values of any dtype that floats hold exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backnorm import _check
from backnorm.errors import RangeError

if TYPE_CHECKING:
    from backnorm._types import AnyArray

__all__ = ["floats"]

MOST_INTEGER = 1 << 53


def floats(name: str, value: object) -> AnyArray:
    """Return value if it is an array of floats, or integers as floats of the same value."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biu":
        return _check.array(name, value)
    if value.dtype.itemsize <= 2 or value.dtype.kind == "b":  # noqa: PLR2004 - 16 bits, of 24
        return value.astype(np.float32)
    if value.dtype.itemsize == 8 and value.size:  # noqa: PLR2004 - 64 bits, of 53
        low, high = int(value.min()), int(value.max())
        if low < -MOST_INTEGER or high > MOST_INTEGER:
            raise RangeError.integer_size(name, max(-low, high))
    return value.astype(np.float64)
