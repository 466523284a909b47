"""backnorm inspect: the normalization layers of model files, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backnorm.cli._output import paper, say, show
from backnorm.cli._reading import read_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm.convert.files import Inspection

__all__ = ["inspect"]


@click.command()
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    help="Write the result as JSON to FILE; - is stdout, in place of the table.",
)
@click.option("--strict", is_flag=True, help="Notes change the exit status too.")
@read_options
@click.pass_context
def inspect(
    ctx: click.Context,
    *,
    files: tuple[Path, ...],
    json_file: str | None,
    strict: bool,
    source_dialect: str | None,
    from_format: str | None,
    net: Path | None,
    settings: tuple[tuple[str, str, Any], ...],
    memory: int | None,
) -> None:
    """List the normalization layers of each model FILE, and what is wrong with them.

    FILE may also be the folder of a SavedModel or of a TensorFlow.js model. Nothing is written, and
    no code in a file is run.

    Exit status: 0 nothing found, 1 findings (with --strict also notes), 2 wrong use or failure.
    """
    from backnorm.convert.files import inspect_model, open_lazily
    from backnorm.errors import BacknormError

    results: list[Inspection] = []
    failures: list[tuple[str, str]] = []
    most = None if memory is None else memory << 20
    for file in files:
        try:
            model = open_lazily(
                file,
                format=from_format,
                net=net,
                memory=most,
                dialect=source_dialect,
                settings=settings,
            )
            results.append(inspect_model(model))
        except BacknormError as error:
            failures.append((file.name, error.in_command()))
            say(f"Error: {error.in_command()}")
    try:
        _show(results, failures, json_file)
    except BacknormError as error:
        say(f"Error: {error.in_command()}")
        ctx.exit(2)
    ctx.exit(2 if failures else _status(results, strict=strict))


def _show(
    results: Sequence[Inspection], failures: Sequence[tuple[str, str]], json_file: str | None
) -> None:
    from backnorm.cli._files import write_atomically
    from backnorm.errors.printable import printable
    from backnorm.report.to_inspection import inspection_json, inspection_table

    for result in results:
        for note in result.notes:
            where = f"{result.file}: " if len(results) > 1 else ""
            say(f"note: {printable(where + note, one_line=True)}")
    if json_file is not None and json_file != "-":
        write_atomically(Path(json_file), inspection_json(results, failures))
    if json_file == "-":
        show(inspection_json(results, failures))
        return
    width, color = paper()
    show("\n".join(inspection_table(result, width=width, color=color) for result in results))


def _status(results: Sequence[Inspection], *, strict: bool) -> int:
    from backnorm.convert.files.inspection import ENTRIES

    codes = {finding.code for result in results for finding in result.findings}
    return int(any(strict or not ENTRIES[code].is_note for code in codes))
