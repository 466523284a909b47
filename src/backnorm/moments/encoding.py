"""Moments as bytes: the same bytes for the same sums.

All numbers are little-endian. First MAGIC and the number of channels, 32 bits; 2^32 - 1 if it is
not known yet. Then of each channel n, 64 bits; what is not finite, 8 bits, an index of SPECIAL; and
both sums: how many zero bits were left out at the end and how many bytes follow, 16 bits each, and
the bytes, signed.
"""

from __future__ import annotations

import math
import struct
from typing import Final

from backnorm.errors import RangeError
from backnorm.kernels.exact_moments import ExactMoments

__all__ = ["decoded", "encoded"]

MAGIC: Final = b"backnorm moments 1\n"
UNKNOWN: Final = 2**32 - 1
SPECIAL: Final = (0.0, math.inf, -math.inf, math.nan)

COUNT: Final = struct.Struct("<I")
HEAD: Final = struct.Struct("<QB")
SUM: Final = struct.Struct("<HH")

MOST_BITS: Final = 2 * 2098 + 64
"""Of a sum: the square of the largest float64 in units of the smallest one's, 2^64 times."""

OTHER_START: Final = "start otherwise"
TOO_FEW: Final = "end too early"
TOO_MANY: Final = "go on after their end"
TOO_LARGE: Final = "hold a sum that is too large"
ALTERED: Final = "it would not have written"


def encoded(parts: list[ExactMoments] | None) -> bytes:
    """Return the bytes of all channels."""
    written = [MAGIC, COUNT.pack(UNKNOWN if parts is None else len(parts))]
    for part in parts or ():
        written.append(HEAD.pack(part.n, _index(part.special)))
        for total in (part.first, part.second):
            zeros = (total & -total).bit_length() - 1 if total else 0
            kept = total >> zeros
            size = (kept.bit_length() + 8) // 8 if kept else 0
            written += [SUM.pack(zeros, size), kept.to_bytes(size, "little", signed=True)]
    return b"".join(written)


def decoded(data: bytes) -> list[ExactMoments] | None:
    """Return the channels of `encoded`."""
    reader = _Reader(data)
    if reader.take(len(MAGIC)) != MAGIC:
        raise RangeError.moments(OTHER_START)
    (channels,) = COUNT.unpack(reader.take(COUNT.size))
    parts = None if channels == UNKNOWN else [reader.channel() for _ in range(channels)]
    if reader.left:
        raise RangeError.moments(TOO_MANY)
    if encoded(parts) != data:
        raise RangeError.moments(ALTERED)
    return parts


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        if size > self.left:
            raise RangeError.moments(TOO_FEW)
        self._at += size
        return self._data[self._at - size : self._at]

    def channel(self) -> ExactMoments:
        """Return the next channel."""
        n, special = HEAD.unpack(self.take(HEAD.size))
        if special >= len(SPECIAL):
            raise RangeError.moments(ALTERED)
        return ExactMoments(n, self._sum(), self._sum(), SPECIAL[special])

    def _sum(self) -> int:
        zeros, size = map(int, SUM.unpack(self.take(SUM.size)))
        if zeros + 8 * size > MOST_BITS:
            raise RangeError.moments(TOO_LARGE)
        return int.from_bytes(self.take(size), "little", signed=True) << zeros


def _index(special: float) -> int:
    return 3 if math.isnan(special) else SPECIAL.index(special)
