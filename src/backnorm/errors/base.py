"""What every error of backnorm has, and how messages show values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BacknormError", "as_tuple", "place_in", "short", "shown"]


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
    """

    def __init__(
        self, name: str, requirement: str, got: str, why: str, advice: str, *, problem: str = ""
    ) -> None:
        super().__init__(name, requirement, got, why, advice)
        self.name = name
        self.requirement = requirement
        self.got = got
        self.why = why
        self.advice = advice
        self.problem = problem or f"{name} must {requirement}, got {got}."

    def __str__(self) -> str:
        return " ".join(filter(None, (self.problem, self.why, self.advice)))


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
    return f"{file}, {place}" if place else file


def as_tuple(shape: Sequence[Any]) -> str:
    """Return a shape as Python writes it."""
    return str(tuple(int(length) for length in shape))
