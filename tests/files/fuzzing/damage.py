"""Damage to files: edits of bytes, and edits of parts whose lengths and checksums stay right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from files.fuzzing.structures import parts_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

Edit = tuple[str, float, int]
"""What is done, where (in parts of the length), and a number for it."""

KINDS: Final = ("flip", "byte", "number", "cut", "double", "drop")

NUMBERS: Final = (0, 1, 0x7F, 0x80, 0xFF, (1 << 31) - 1, (1 << 60), (1 << 63) - 1, (1 << 64) - 1)
"""Lengths that a header may claim."""

WORDS: Final = (
    *(b"0", b"-1", b"1e999", b"18446744073709551616", b"null", b"true", b"[]", b"{}", b'""'),
    *(b"NaN", b'"\\u0000"', b'"\\ud800"', b"'", b'"', b"(", b"{", b"#", b"\\"),
)
"""What may stand in a text in place of another word."""

DEEPEST: Final = 12

UNDAMAGED_BELOW: Final = 0.15
"""How often a part that has parts is damaged as a whole."""


def damaged(data: bytes, edits: list[Edit]) -> bytes:
    """Return the bytes after some edits, each at a place in parts of the length."""
    for kind, where, value in edits:
        at = int(where * len(data))
        data = data[:at] + edited(kind, data[at:], value)
    return data


def edited(kind: str, rest: bytes, value: int) -> bytes:
    """Return what follows a place after one edit there."""
    match kind:
        case "flip":
            return bytes(byte ^ (1 << value % 8) for byte in rest[:1]) + rest[1:]
        case "byte":
            return bytes([value]) + rest[1:]
        case "number":
            return NUMBERS[value % len(NUMBERS)].to_bytes(8, "little") + rest[8:]
        case "double":
            return rest[: value % 64] + rest
        case "drop":
            return rest[value % 64 :]
    return b""


def random_edit(data: bytes, random: Random) -> bytes:
    """Return the bytes after one edit, or a word in their place."""
    if random.random() < 1 / 8:
        return random.choice(WORDS)
    return damaged(data, [(random.choice(KINDS), random.random(), random.randrange(256))])


def damaged_inside(
    data: bytes,
    random: Random,
    edit: Callable[[bytes, Random], bytes] = random_edit,
    depth: int = 0,
) -> bytes:
    """Return a file after one edit somewhere in its structure.

    Parameters
    ----------
    data
        The file.
    random
        What is edited, and how.
    edit
        Edits what has no parts.
    depth
        Of this part in others.

    Returns
    -------
    bytes
        The new file; lengths and checksums around the edit are those of the new parts.
    """
    whole = parts_of(data, random.randrange(4)) if depth < DEEPEST else None
    if whole is None or not whole.parts or random.random() < UNDAMAGED_BELOW:
        return edit(data, random)
    parts = list(whole.parts)
    at, other = random.randrange(len(parts)), random.randrange(len(parts))
    head, body = parts[at]
    match random.randrange(12):
        case 0:
            del parts[at]
        case 1:
            parts.insert(other, parts[at])
        case 2:
            parts[at], parts[other] = parts[other], parts[at]
        case 3:
            parts[at] = head, parts[other][1]
        case _:
            parts[at] = head, damaged_inside(body, random, edit, depth + 1)
    return whole.join(parts)
