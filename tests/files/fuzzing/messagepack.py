"""The items of a MessagePack list or map, and what an extension holds, by the format alone."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

SIZES = {
    first + index: 1 << index
    for first in (0xC4, 0xC7, 0xD9)  # binary, extensions, text
    for index in range(3)
} | {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}  # lists, maps
"""Bytes of the length that follows the first byte."""

NUMBERS = {
    first + index: size
    for first, sizes in {
        0xC0: (0,),
        0xC2: (0, 0),  # truth values
        0xCA: (4, 8),  # real numbers
        0xCC: (1, 2, 4, 8, 1, 2, 4, 8),  # whole numbers
        0xD4: (2, 3, 5, 9, 17),  # extensions
    }.items()
    for index, size in enumerate(sizes)
}
"""Bytes that follow the first byte of what has a fixed length."""


def _head(data: bytes, at: int) -> tuple[int, int, int, bool]:
    """Return where the content begins, its bytes, how many items follow, and whether of a map."""
    first = data[at]
    if first < 0x80 or first >= 0xE0:
        return at + 1, 0, 0, False
    if first < 0xA0:
        count = first & 0xF
        return at + 1, 0, count * (2 if first < 0x90 else 1), first < 0x90
    if first < 0xC0:
        return at + 1, first & 0x1F, 0, False
    if first in NUMBERS:
        return at + 1, NUMBERS[first], 0, False
    width = SIZES[first]
    size = int.from_bytes(data[at + 1 : at + 1 + width], "big")
    start = at + 1 + width
    if first >= 0xDC:
        return start, 0, size * (2 if first >= 0xDE else 1), first >= 0xDE
    return start, size + (0xC7 <= first <= 0xC9), 0, False


def _end(data: bytes, at: int) -> int:
    """Return where an item ends, with all that is in it."""
    waiting = 1
    while waiting:
        start, size, count, _ = _head(data, at)
        at = start + size
        waiting += count - 1
        if at > len(data) or waiting > len(data):
            raise ValueError(at)
    return at


def items(data: bytes) -> list[tuple[str, bytes]]:
    """Return the keys and values of a map, the items of a list, or the content of an extension."""
    start, size, count, of_map = _head(data, 0)
    if _end(data, 0) != len(data):
        raise ValueError
    if 0xC7 <= data[0] <= 0xC9:
        return [(f"extension {data[start]}", data[start + 1 : start + size])]
    if not count:
        raise ValueError(count)
    found = []
    for _ in range(count):
        end = _end(data, start)
        found.append(("map" if of_map else "list", data[start:end]))
        start = end
    return found


def joined(parts: Iterable[tuple[Any, bytes]]) -> bytes:
    """Return the list, map or extension of such parts."""
    parts = list(parts)
    content = b"".join(body for _, body in parts)
    kind = parts[0][0] if parts else "list"
    if kind.startswith("extension"):
        return struct.pack(">BIB", 0xC9, len(content), int(kind.split()[1])) + content
    if kind == "map":
        return struct.pack(">BI", 0xDF, len(parts) // 2) + content
    return struct.pack(">BI", 0xDD, len(parts)) + content
