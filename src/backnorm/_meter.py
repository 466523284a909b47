"""How far a long command or call is, on stderr: a bar on a terminal, lines in a log."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

import click

from backnorm.errors.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Meter", "metered", "say"]

LINES: Final = 10
"""A log has a line at each tenth of the work."""

LEAST_SECONDS: Final = 10.0
"""It has no other line for this time, so that a short command says nothing."""

MOST_SECONDS: Final = 60.0
"""It has another line after this time, however little was done."""

Item = TypeVar("Item")


@dataclass(slots=True)
class Meter:
    """How far a command is.

    Attributes
    ----------
    tell
        Called after each change with this.
    total
        How many parts the work has; None while it is not known.
    done
        How many of them are done.
    part
        What is at work; may be empty.
    """

    tell: Callable[[Meter], object]
    total: int | None = None
    done: int = 0
    part: str = ""

    def at(self, part: str, done: int, total: int | None) -> None:
        """Tell what is at work, and how much is done."""
        self.part, self.done, self.total = printable(part, one_line=True), done, total
        self.tell(self)

    def begin(self, part: str) -> None:
        """Tell what is at work."""
        self.at(part, self.done, self.total)

    def advance(self, count: int = 1) -> None:
        """Tell that parts are done."""
        self.at(self.part, self.done + count, self.total)

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, each of which is a part that is done when the next one is asked for."""
        for item in items:
            yield item
            self.advance()

    def counted(self) -> str:
        """Return how many parts are done, in words; nothing while it is not known."""
        return f"{self.done} of {self.total}" if self.total else ""


def say(text: str) -> None:
    """Print a line to stderr; where stderr does not take it, all else goes on."""
    with suppress(OSError, ValueError):
        click.echo(text, err=True)


@contextmanager
def metered(
    command: str, total: int | None = None, *, clock: Callable[[], float] | None = None
) -> Iterator[Meter]:
    """Show how far a command is while it runs.

    Parameters
    ----------
    command
        What to call it.
    total
        How many parts its work has, if that is known.
    clock
        Seconds since some moment, for the lines of a log; None for the machine's clock.

    Yields
    ------
    Meter
        What the command tells its progress to.
    """
    if sys.stderr is not None and sys.stderr.isatty():
        with _bar(command, total) as tell:
            yield Meter(tell, total)
    else:
        clock = clock or monotonic
        yield Meter(_Log(command, clock, clock()).tell, total)


@dataclass(slots=True)
class _Log:
    """Lines for a file or a pipe: when the last one was said, and which tenth was done then."""

    command: str
    clock: Callable[[], float]
    began: float
    told: float = 0.0
    tenth: int = 0

    def __post_init__(self) -> None:
        self.told = self.began

    def tell(self, meter: Meter) -> None:
        """Say a line if it is time for one."""
        now = self.clock()
        tenth = LINES * meter.done // meter.total if meter.total else 0
        waited = now - self.told
        if waited < LEAST_SECONDS or (waited < MOST_SECONDS and tenth <= self.tenth):
            return
        self.told, self.tenth = now, tenth
        counted = f"{meter.counted()} ({meter.done / meter.total:.0%})" if meter.total else ""
        parts = (counted, _lasted(now - self.began), meter.part)
        say(f"{self.command}: {', '.join(filter(None, parts))}")


def _lasted(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


@contextmanager
def _bar(command: str, total: int | None) -> Iterator[Callable[[Meter], object]]:
    from rich.console import Console  # noqa: PLC0415 - it takes long to load
    from rich.progress import (  # noqa: PLC0415 - the same
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    text = TextColumn("{task.description}", markup=False)
    columns = (BarColumn(20), text, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(command, total=total)

        def tell(meter: Meter) -> None:
            description = " ".join(filter(None, (meter.counted(), meter.part))) or command
            progress.update(task, description=description, completed=meter.done, total=meter.total)

        yield tell
