"""The documents that backnorm audit writes: their options, and the writing."""

from __future__ import annotations

from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from backnorm.cli._output import show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from backnorm.audit.record import Record

__all__ = ["document_options", "write_documents"]

DOCUMENTS: Final = {
    "json": "Write JSON too; - for stdout.",
    "html": "Write HTML too; - for stdout.",
    "junit": "Write JUnit XML for CI too.",
    "sarif": "Write SARIF 2.1.0 too, for code scanning.",
    "gitlab": "Write a code quality report for GitLab too.",
    "markdown": "Write Markdown too, for the summary of a step.",
}
"""Each document is an option with its name."""


def document_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of all documents, which it gets as a mapping `files`."""

    @wraps(command)
    def _with_files(*arguments: Any, **options: Any) -> None:
        files = {name: options.pop(f"{name}_file") for name in DOCUMENTS}
        command(*arguments, files=files, **options)

    decorated: Callable[..., None] = _with_files
    for name, words in reversed(DOCUMENTS.items()):
        option = click.option(
            f"--{name}", f"{name}_file", metavar="FILE", callback=writable, help=words
        )
        decorated = option(decorated)
    return decorated


def writable(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    """Raise BadParameter before the audit if the file could not be written after it."""
    from backnorm.cli._files import refuse_unwritable
    from backnorm.errors import FileError

    if name is None or name == "-":
        return name
    if not name:
        message = "the name is empty; pass the name of a file, or - for stdout"
        raise click.BadParameter(message)
    try:
        refuse_unwritable(Path(name))
    except FileError as error:
        raise click.BadParameter(str(error)) from error
    return name


def write_documents(
    records: Sequence[Record],
    files: Mapping[str, str | None],
    elsewhere: Mapping[str, str],
    unit: str,
) -> list[str]:
    """Write the documents to their files; return why some of them could not be written."""
    from backnorm.cli._files import write_atomically
    from backnorm.errors import FileError
    from backnorm.policy.baseline import to_baseline
    from backnorm.report import to_gitlab, to_html, to_json, to_junit, to_markdown, to_sarif

    writers: dict[str, Callable[[Sequence[Record]], str]]
    writers = {
        "baseline": to_baseline,
        "gitlab": to_gitlab,
        "html": partial(to_html, unit=unit),
        "json": partial(to_json, elsewhere=elsewhere),
        "junit": to_junit,
        "markdown": to_markdown,
        "sarif": to_sarif,
    }
    unwritten = []
    for name, file in sorted(files.items(), key=lambda item: item[1] == "-"):  # stdout last
        if file == "-":
            show(writers[name](records))
        elif file is not None:
            try:
                write_atomically(Path(file), writers[name](records))
            except FileError as error:
                unwritten.append(str(error))
    return unwritten
