"""The parts that a file is made of, and how it is put together again with what belongs to each.

Damage to a whole file mostly hits a checksum or a length, and what follows is never read. These
functions take a file apart into heads and bodies; ``join`` computes lengths and checksums anew, so
that damage to a body reaches the reader of the body.
"""

from __future__ import annotations

import io
import json
import pickletools
import struct
import warnings
import zipfile
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from files.fuzzing import messagepack, protobuf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Part = tuple[Any, bytes]
"""What `join` needs to know of a part, and its content."""


class Parts(NamedTuple):
    """A file in parts."""

    parts: list[Part]
    join: Callable[[Iterable[Part]], bytes]


def parts_of(data: bytes, choice: int) -> Parts | None:
    """Take a file apart.

    Parameters
    ----------
    data
        A file, or a part of one.
    choice
        Some bytes can be read in several ways: the number of one of them.

    Returns
    -------
    Parts or None
        None if it has no known structure.
    """
    for signature, split in SIGNED.items():
        if data[: len(signature)] == signature:
            return _tried(split, data)
    if data[8:9] == b"{":
        return _tried(_safetensors, data)
    ways = [parts for parts in (_tried(split, data) for split in UNSIGNED) if parts is not None]
    return ways[choice % len(ways)] if ways else None


def _tried(split: Callable[[bytes], Parts], data: bytes) -> Parts | None:
    """Take apart what may be damaged already."""
    try:
        return split(data)
    except Exception:  # noqa: BLE001 - of any kind: zipfile alone raises ten
        return None


def _zip(data: bytes) -> Parts:
    """Members, each unpacked."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > MOST:
            raise ValueError
        return Parts([(entry, archive.read(entry)) for entry in entries], _zipped)


MOST: Final = 1 << 20
"""Bytes that a damaged archive may unpack to here."""


def _zipped(parts: Iterable[Part]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, warnings.catch_warnings(action="ignore"):
        for entry, body in parts:  # a name may be there twice
            copy = zipfile.ZipInfo(entry.filename)
            copy.compress_type = entry.compress_type
            archive.writestr(copy, body)
    return stream.getvalue()


def _npy(data: bytes) -> Parts:
    """The header's text, and the values."""
    long = data[6] > 1
    (length,) = struct.unpack_from("<I" if long else "<H", data, 8)
    start = 12 if long else 10
    parts = [(data[:8], data[start : start + length]), (None, data[start + length :])]
    return Parts(parts, _npy_joined)


def _npy_joined(parts: Iterable[Part]) -> bytes:
    data = b""
    for head, body in parts:
        if head is None:
            data += body
        else:
            long = head[6] > 1
            size = min(len(body), 0xFFFFFFFF if long else 0xFFFF)
            data += head + size.to_bytes(4 if long else 2, "little") + body
    return data


def _safetensors(data: bytes) -> Parts:
    """The header's text, and the values."""
    (length,) = struct.unpack_from("<Q", data)
    if length > len(data):
        raise ValueError
    parts = [("header", data[8 : 8 + length]), (None, data[8 + length :])]
    return Parts(parts, _safetensors_joined)


def _safetensors_joined(parts: Iterable[Part]) -> bytes:
    return b"".join(
        body if head is None else struct.pack("<Q", len(body)) + body for head, body in parts
    )


def _pickle(data: bytes) -> Parts:
    """One operation after the other."""
    places = [place for _, _, place in pickletools.genops(data)]
    ends = [*places[1:], len(data)]
    parts = [(data[a : a + 1], data[a + 1 : b]) for a, b in zip(places, ends, strict=True) if b > a]
    return Parts(parts, lambda parts: b"".join(head + body for head, body in parts))


def _json(data: bytes) -> Parts:
    """The entries of an object or of an array."""
    value = json.loads(data)
    if isinstance(value, dict):
        named = [(json.dumps(key).encode(), _dumped(item)) for key, item in value.items()]
        return Parts(named, lambda parts: b"{" + b", ".join(a + b": " + b for a, b in parts) + b"}")
    items = [(None, _dumped(item)) for item in value]
    return Parts(items, lambda parts: b"[" + b", ".join(body for _, body in parts) + b"]")


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def _text(data: bytes) -> Parts:
    """Lines, and the words of a line."""
    text = data.decode()
    if not text.isprintable() and not set(text) - set("\n\t\r") <= PRINTABLE:
        raise ValueError
    by = "\n" if "\n" in text.strip("\n") else " "
    parts = text.split(by)
    if len(parts) == 1:
        raise ValueError
    return Parts(
        [(None, part.encode()) for part in parts],
        lambda parts: by.encode().join(body for _, body in parts),
    )


PRINTABLE: Final = {chr(code) for code in range(32, 127)}

SIGNED: Final[dict[bytes, Callable[[bytes], Parts]]] = {
    b"PK\3\4": _zip,
    b"\x93NUMPY": _npy,
    b"\x80\2": _pickle,
    b"\x80\4": _pickle,
    b"{": _json,
    b"[": _json,
}
"""Structures that begin with bytes of their own."""

UNSIGNED: Final = (
    _text,
    lambda data: Parts(protobuf.fields(data), protobuf.joined),
    lambda data: Parts(messagepack.items(data), messagepack.joined),
)
"""Structures that are there if the bytes can be read that way."""
