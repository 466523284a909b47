"""What every error of backnorm has, and how messages show values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from backnorm.errors.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BacknormError", "as_tuple", "counted", "name_in", "place_in", "short", "shown"]

LONGEST_NAME: Final = 300
"""Characters of a name in a message: file systems allow 255, model files any number."""


class BacknormError(Exception):
    """Base of all errors that backnorm raises on purpose.

    An error about an argument begins "<name> must <requirement>, got <got>." An error about a state
    of the world (a file, a package, a target) passes its own first sentence as `problem`.

    Attributes
    ----------
    name
        The argument (or file, layer, target) that is at fault.
    requirement
        What the argument must do or be; where `problem` was passed: what was expected.
    got
        What was found instead, as text.
    why
        Where the requirement comes from; may be empty.
    advice
        What to do.
    problem
        The first sentence of the message: what is wrong.
    command
        What to do at the command line; `advice` where nothing else was passed.
    """

    def __init__(
        self,
        name: str,
        requirement: str,
        got: str,
        why: str,
        advice: str,
        *,
        problem: str = "",
        command: str = "",
    ) -> None:
        super().__init__(name, requirement, got, why, advice)
        self.name = name
        self.requirement = requirement
        self.got = got
        self.why = why
        self.advice = advice
        self.problem = problem or f"{name} must {requirement}, got {got}."
        self.command = command or advice

    def __str__(self) -> str:
        return self._sentences(self.advice)

    def in_command(self) -> str:
        """Return the message as a command prints it: with its options, not Python's arguments."""
        return self._sentences(self.command)

    def _sentences(self, advice: str) -> str:
        return printable(" ".join(filter(None, (self.problem, self.why, advice))))


def short(text: str, limit: int = 300) -> str:
    """Fit foreign text on a line or two: of a long text, the end, where the reason stands."""
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= limit else "..." + line[-limit:]


def shown(got: object) -> str:
    """Return the representation of a value, whatever its class does."""
    try:
        return repr(got)
    except ValueError:  # Python does not write out integers of some thousand digits
        return "a number too long to write out"


def place_in(file: str, place: str) -> str:
    """Return a place in a file, or the file alone."""
    return f"{name_in(file)}, {name_in(place)}" if place else name_in(file)


def name_in(name: str) -> str:
    """Return a name from a file on one line, its middle left out if it is very long.

    An empty name is a name too: the one layer of a module that was saved alone has it.
    """
    if not name:
        return "''"
    half = LONGEST_NAME // 2
    text = name if len(name) <= LONGEST_NAME else f"{name[:half]}...{name[-half:]}"
    return printable(text, one_line=True)


def counted(count: int, thing: str) -> str:
    """Return a number of things in words: "1 layer", "2 layers"."""
    return f"{count} {thing}{'s' * (count != 1)}"


def as_tuple(shape: Sequence[Any]) -> str:
    """Return a shape as Python writes it."""
    return str(tuple(int(length) for length in shape))
