"""The wire format of protocol buffers: fields as spans of the bytes, so that nothing is lost.

Forks of Caffe add fields that no shipped description of the messages would know. Reading spans, and
writing over them, carries every field through byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm.convert.files._budget import Budget

__all__ = ["BYTES", "FIXED32", "FIXED64", "VARINT", "Span", "Wire", "encode", "fixed32", "varint"]

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5

LONGEST_VARINT: Final = 10
"""Bytes of a 64-bit number, 7 bits each."""

SPAN: Final = 64
"""Bytes of memory for a field. It may be kept: a name, or where a value is."""


@dataclass(frozen=True, slots=True)
class Span:
    """One field of a message.

    Attributes
    ----------
    number
        The field's number.
    wire
        How it is written: `VARINT`, `FIXED64`, `BYTES` or `FIXED32`.
    value
        The number, where it is a varint; else 0.
    start, end
        Where its content lies in the file.
    """

    number: int
    wire: int
    value: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Wire:
    """A file of the wire format.

    Attributes
    ----------
    file
        Its name, for messages.
    data
        Its bytes.
    budget
        The bytes that it may become.
    """

    file: str
    data: bytes
    budget: Budget

    def fields(self, start: int, end: int, place: str) -> Iterator[Span]:
        """Yield the fields of the message between two offsets."""
        at = start
        while at < end:
            key, at = self._varint(at, end, place)
            number, wire = key >> 3, key & 7
            value = 0
            if wire == VARINT:
                first = at
                value, at = self._varint(at, end, place)
            elif wire in (FIXED32, FIXED64):
                first, at = at, at + (4 if wire == FIXED32 else 8)
            elif wire == BYTES:
                length, first = self._varint(at, end, place)
                at = first + length
            else:
                raise FileError.malformed(
                    self.file, place, "have fields of wire type 0, 1, 2 or 5", f"{wire}"
                )
            if at > end:
                raise FileError.truncated(self.file, place, at - first, end - first)
            self.budget.take(place, SPAN)
            yield Span(number, wire, value, first, at)

    def varints(self, start: int, end: int, place: str) -> Iterator[int]:
        """Yield packed numbers."""
        at = start
        while at < end:
            value, at = self._varint(at, end, place)
            yield value

    def text(self, span: Span, place: str) -> str:
        """Return the text that a field holds."""
        self.expect(span, BYTES, place)
        try:
            return self.data[span.start : span.end].decode()
        except UnicodeDecodeError as error:
            raise FileError.malformed(self.file, place, "be UTF-8 text", error.reason) from error

    def expect(self, span: Span, wire: int, place: str) -> None:
        """Refuse a field that is not written as its type is."""
        if span.wire != wire:
            raise FileError.malformed(
                self.file, place, f"be of wire type {wire}", f"wire type {span.wire}"
            )

    def _varint(self, at: int, end: int, place: str) -> tuple[int, int]:
        value = 0
        for index in range(LONGEST_VARINT):
            if at + index >= end:
                raise FileError.truncated(self.file, place, 1, 0)
            byte = self.data[at + index]
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:  # noqa: PLR2004 - the bit that says "more follows" is not set
                return value & 0xFFFF_FFFF_FFFF_FFFF, at + index + 1
        raise FileError.malformed(self.file, place, "have numbers of 64 bits", "a longer one")


def varint(value: int) -> bytes:
    """Write a number that is not negative."""
    parts = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - 7 bits a byte
        parts.append((value & 0x7F) | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def encode(number: int, value: bytes | str | int) -> bytes:
    """Write one field: bytes, text or a number.

    Parameters
    ----------
    number
        The field's number.
    value
        What it holds.

    Returns
    -------
    bytes
        Key, length and content.
    """
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | BYTES) + varint(len(content)) + content


def fixed32(number: int, content: bytes) -> bytes:
    """Write one field of 4 bytes."""
    return varint(number << 3 | FIXED32) + content
