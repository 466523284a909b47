"""The text format of protocol buffers, as Caffe's network descriptions use it.

Nothing that is named in it, such as the source of a data layer, is ever opened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, TypeAlias

from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Message", "TextField", "fields_of_prototxt", "parse_prototxt"]

Message: TypeAlias = "dict[str, list[str | Message]]"
"""Field to all its values, in order: text as it stands, without quotes, or a message."""


@dataclass(frozen=True, slots=True)
class TextField:
    """A field, and where it stands in the text.

    Attributes
    ----------
    name
        Of the field.
    value
        Text as it stands, without quotes, or the fields of a message.
    start
        Where the field begins.
    first, end
        Where its value begins, and where the field ends.
    """

    name: str
    value: str | tuple[TextField, ...]
    start: int
    first: int
    end: int


DEEPEST: Final = 64
"""Levels of nesting; Caffe's own definition has 5."""

TOKEN: Final = re.compile(
    r"""\s+ | \#[^\n]* | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<open>[{<]) | (?P<close>[}>]) | (?P<mark>[:\[\],;])
    | (?P<word>[-+.\w/]+)""",
    re.VERBOSE,
)

ESCAPE: Final = re.compile(r"\\([0-7]{1,3}|[xX][0-9a-fA-F]{1,2}|.)")

OCTAL: Final = "01234567"

LETTERS: Final = {"n": "\n", "r": "\r", "t": "\t"}


def parse_prototxt(file: str, text: str) -> Message:
    """Parse a whole text file.

    Parameters
    ----------
    file
        Its name, for messages.
    text
        What it holds.

    Returns
    -------
    Message
        All fields, by name.

    Raises
    ------
    FileError
        Naming the line.
    """
    return _plain(fields_of_prototxt(file, text))


def fields_of_prototxt(file: str, text: str) -> tuple[TextField, ...]:
    """Parse a whole text file, and say where each field stands; see `parse_prototxt`."""
    return _Parser(file, _tokens(file, text)).message(0)


def _plain(fields: tuple[TextField, ...]) -> Message:
    message: Message = {}
    for field in fields:
        value = field.value if isinstance(field.value, str) else _plain(field.value)
        message.setdefault(field.name, []).append(value)
    return message


def _tokens(file: str, text: str) -> Iterator[_Token]:
    """Yield each token, then an end."""
    at, line = 0, 1
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise FileError.malformed(file, f"line {line}", "be text format", repr(text[at]))
        if match.lastgroup:
            yield _Token(match.lastgroup, match[0], line, at)
        line += match[0].count("\n")
        at = match.end()
    yield _Token("end", "the end of the file", line, at)


def _character(escaped: str) -> str:
    if escaped[0] in OCTAL:
        return chr(int(escaped, 8))
    if escaped[0] in "xX" and len(escaped) > 1:
        return chr(int(escaped[1:], 16))
    return LETTERS.get(escaped, escaped)


class _Token(NamedTuple):
    """A kind, the text, its line, and where it begins."""

    kind: str
    text: str
    line: int
    start: int


class _Parser:
    """One token ahead."""

    def __init__(self, file: str, tokens: Iterator[_Token]) -> None:
        self._file = file
        self._tokens = tokens
        self._end = 0  # of the token before
        self._token = next(tokens)

    def message(self, depth: int) -> tuple[TextField, ...]:
        """Read fields up to the closing brace, or to the end of the file."""
        if depth > DEEPEST:
            self._refuse(f"be nested at most {DEEPEST} deep")
        fields: list[TextField] = []
        while self._token.kind != ("close" if depth else "end"):
            if self._token.text in {",", ";"}:
                self._take("mark")
                continue
            start = self._token.start
            name = self._take("word")
            if self._token.text == ":":
                self._take("mark")
            fields += self._fields(name, start, depth)
        self._next()
        return tuple(fields)

    def _fields(self, name: str, start: int, depth: int) -> Iterator[TextField]:
        """Yield one field, or one for each value of a list."""
        if self._token.text != "[":
            yield self._field(name, start, depth)
            return
        self._take("mark")
        while self._token.text != "]":
            yield self._field(name, start, depth)
            if self._token.text == ",":
                self._take("mark")
        self._take("mark")

    def _field(self, name: str, start: int, depth: int) -> TextField:
        first = self._token.start
        value = self._value(depth)
        return TextField(name, value, start, first, self._end)

    def _value(self, depth: int) -> str | tuple[TextField, ...]:
        if self._token.kind == "open":
            self._next()
            return self.message(depth + 1)
        if self._token.kind == "word":
            return self._take("word")
        parts = [self._string()]
        while self._token.kind == "string":
            parts.append(self._string())
        return "".join(parts)

    def _string(self) -> str:
        return ESCAPE.sub(lambda match: _character(match[1]), self._take("string")[1:-1])

    def _take(self, kind: str) -> str:
        if self._token.kind != kind:
            self._refuse(f"hold a {kind} here")
        text = self._token.text
        self._next()
        return text

    def _next(self) -> None:
        before = self._token
        self._end = before.start + len(before.text)
        end = _Token("end", "the end of the file", before.line, before.start)
        self._token = next(self._tokens, end)

    def _refuse(self, requirement: str) -> NoReturn:
        got = self._token.text
        raise FileError.malformed(self._file, f"line {self._token.line}", requirement, got)
