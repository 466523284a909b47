"""The fields of a message of protocol buffers, by the wire format alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

FIXED: Final = {FIXED64: 8, FIXED32: 4}


def fields(data: bytes) -> list[tuple[int, bytes]]:
    """Return the key and the payload of each field; ValueError if it is not a message."""
    found = []
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        start = at
        kind = key & 7
        if kind == VARINT:
            _, end = _number(data, at)
        elif kind == LENGTH:
            size, start = _number(data, at)
            end = start + size
        elif kind in FIXED:
            end = at + FIXED[kind]
        else:
            raise ValueError(kind)
        if end > len(data) or not key >> 3:
            raise ValueError(end)
        found.append((key, data[start:end]))
        at = end
    if not found:
        raise ValueError
    return found


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(10):
        if at + index >= len(data):
            break
        byte = data[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    raise ValueError(at)


def _written(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def joined(parts: Iterable[tuple[Any, bytes]]) -> bytes:
    """Return the message of some fields, each with its length."""
    return b"".join(
        _written(key) + (_written(len(body)) if key & 7 == LENGTH else b"") + body
        for key, body in parts
    )
