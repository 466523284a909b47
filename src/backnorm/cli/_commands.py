"""The commands of --program and --library: looked at before the audit."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from backnorm.errors import BacknormError, ProgramError
from backnorm.host import library

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm.cli._jobs import AuditJob

__all__ = ["ProgramCommand", "command_jobs", "read_libraries", "read_programs"]


class ProgramCommand(NamedTuple):
    """A program to run.

    Attributes
    ----------
    text
        As the user wrote it.
    words
        The program and its arguments.
    """

    text: str
    words: tuple[str, ...]


def read_programs(
    _: click.Context, __: click.Parameter, texts: tuple[str, ...]
) -> tuple[ProgramCommand, ...]:
    """Split each command as a shell would; raise BadParameter if it cannot be started."""
    try:
        return tuple(map(_program, texts))
    except BacknormError as error:
        raise click.BadParameter(str(error)) from error


def read_libraries(
    _: click.Context, __: click.Parameter, texts: tuple[str, ...]
) -> tuple[ProgramCommand, ...]:
    """Make of each FILE:FUNCTION the command of a program that calls it."""
    try:
        return tuple(map(_library, texts))
    except BacknormError as error:
        raise click.BadParameter(str(error)) from error


def command_jobs(commands: Sequence[ProgramCommand], asked: AuditJob) -> list[AuditJob]:
    """Return a job for each command, with those options of the command line that programs take."""
    free = replace(asked, arguments=None, python="", model=False, inputs=(), device="")
    return [replace(free, target=one.text, program=one.words) for one in commands]


def _program(text: str) -> ProgramCommand:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ProgramError.not_split(text, error) from error
    if not words:
        raise ProgramError.not_split(text, ValueError(text))
    if shutil.which(words[0]) is None:
        raise ProgramError.not_found(words[0])
    return ProgramCommand(text, tuple(words))


def _library(text: str) -> ProgramCommand:
    file, _, function = text.rpartition(":")
    if not function or not Path(file).is_file():
        raise ProgramError.not_a_library(text)
    words = (sys.executable, "-P", library.__file__, os.path.realpath(file), function)
    return ProgramCommand(text, words)
