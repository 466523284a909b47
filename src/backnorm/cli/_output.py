"""How a command prints and how it ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

import click

from backnorm._meter import say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["Paper", "ended_by_signals", "paper", "say", "show"]

WIDTH_OF_FILES: Final = 120
"""Columns of a table that goes to a file or a pipe, where the variable COLUMNS says nothing."""

SIGNALS: Final = ("SIGTERM", "SIGHUP")
"""What ends a command from outside, besides Ctrl-C; the second is not on every system."""


class Paper(NamedTuple):
    """How wide a table may be, and whether it may have colors."""

    width: int
    color: bool


def paper() -> Paper:
    """Return what stdout takes: of a terminal, of the variable COLUMNS, or of a file."""
    from rich.console import Console

    terminal = Console()
    # rich reads COLUMNS itself; without it, it takes a file for a terminal of 80 columns.
    known = terminal.is_terminal or os.environ.get("COLUMNS", "").isdigit()
    return Paper(terminal.width if known else WIDTH_OF_FILES, terminal.is_terminal)


def show(text: str) -> None:
    """Print the result of a command; if stdout does not take it, end with status 2 and one line."""
    if sys.stdout is None:
        _end("stdout is closed")
    try:
        click.echo(text, nl=False)
    except (OSError, ValueError) as error:  # ValueError: a stream that was closed
        _give_up_stdout()
        _end(f"{type(error).__name__}: {error}")


def _end(why: str) -> NoReturn:
    say(f"Error: the result cannot be printed: {why}.")
    raise click.exceptions.Exit(2)


def _give_up_stdout() -> None:
    """Lead stdout nowhere: at its end Python would try again to write what is still buffered."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # a stream of a test has no number
        return


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Leave by SystemExit when the process is told to end, so that nothing unfinished stays."""
    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield
        return

    def leave(number: int, _: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    ignored = {number for number in numbers if before[number] is signal.SIG_IGN}  # nohup
    for number in set(numbers) - ignored:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in set(numbers) - ignored:
            signal.signal(number, before[number])
