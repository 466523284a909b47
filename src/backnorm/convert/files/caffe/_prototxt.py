"""The text format of protocol buffers, as Caffe's network descriptions use it.

Nothing that is named in it, such as the source of a data layer, is ever opened.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Message", "parse_prototxt"]

Message: TypeAlias = "dict[str, list[str | Message]]"
"""Field to all its values, in order: text as it stands, without quotes, or a message."""

DEEPEST: Final = 64
"""Levels of nesting; Caffe's own definition has 5."""

TOKEN: Final = re.compile(
    r"""\s+ | \#[^\n]* | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<open>[{<]) | (?P<close>[}>]) | (?P<mark>[:\[\],;])
    | (?P<word>[-+.\w/]+)""",
    re.VERBOSE,
)

ESCAPE: Final = re.compile(r"\\([0-7]{1,3}|[xX][0-9a-fA-F]{1,2}|.)")

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
    return _Parser(file, _tokens(file, text)).message(0)


def _tokens(file: str, text: str) -> Iterator[tuple[str, str, int]]:
    """Yield kind, text and line of each token, then an end."""
    at, line = 0, 1
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise FileError.malformed(file, f"line {line}", "be text format", repr(text[at]))
        if match.lastgroup:
            yield match.lastgroup, match[0], line
        line += match[0].count("\n")
        at = match.end()
    yield "end", "the end of the file", line


def _character(escaped: str) -> str:
    if escaped[0].isdigit():
        return chr(int(escaped, 8))
    if escaped[0] in "xX" and len(escaped) > 1:
        return chr(int(escaped[1:], 16))
    return LETTERS.get(escaped, escaped)


class _Parser:
    """One token ahead."""

    def __init__(self, file: str, tokens: Iterator[tuple[str, str, int]]) -> None:
        self._file = file
        self._tokens = tokens
        self._kind, self._text, self._line = next(tokens)

    def message(self, depth: int) -> Message:
        """Read fields up to the closing brace, or to the end of the file."""
        if depth > DEEPEST:
            self._refuse(f"be nested at most {DEEPEST} deep")
        fields: Message = {}
        while self._kind != ("close" if depth else "end"):
            if self._text in {",", ";"}:
                self._take("mark")
                continue
            name = self._take("word")
            if self._text == ":":
                self._take("mark")
            fields.setdefault(name, []).extend(self._values(depth))
        self._next()
        return fields

    def _values(self, depth: int) -> list[str | Message]:
        if self._text != "[":
            return [self._value(depth)]
        values = []
        self._take("mark")
        while self._text != "]":
            values.append(self._value(depth))
            if self._text == ",":
                self._take("mark")
        self._take("mark")
        return values

    def _value(self, depth: int) -> str | Message:
        if self._kind == "open":
            self._next()
            return self.message(depth + 1)
        if self._kind == "word":
            return self._take("word")
        parts = [self._string()]
        while self._kind == "string":
            parts.append(self._string())
        return "".join(parts)

    def _string(self) -> str:
        return ESCAPE.sub(lambda match: _character(match[1]), self._take("string")[1:-1])

    def _take(self, kind: str) -> str:
        if self._kind != kind:
            self._refuse(f"hold a {kind} here")
        text = self._text
        self._next()
        return text

    def _next(self) -> None:
        end = ("end", "the end of the file", self._line)
        self._kind, self._text, self._line = next(self._tokens, end)

    def _refuse(self, requirement: str) -> NoReturn:
        raise FileError.malformed(self._file, f"line {self._line}", requirement, self._text)
