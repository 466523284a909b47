"""backnorm convert: the normalization layers of a model file, from one framework to another."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from backnorm.convert.files import LayerChange, ModelFile

__all__ = ["convert"]

WIDTH_OF_FILES = 120
"""Columns of a table that goes to a file or a pipe."""


def _settings(
    _: click.Context, __: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[str, str, Any], ...]:
    """Read each --set LAYER.OPTION=VALUE."""
    settings = []
    for text in texts:
        left, equals, value = text.partition("=")
        layer, dot, option = left.rpartition(".")
        if not equals or not dot or not option:
            message = f"it must be LAYER.OPTION=VALUE, such as '*.eps=0.001', got {text}"
            raise click.BadParameter(message)
        settings.append((layer, option, _value(value)))
    return tuple(settings)


def _value(text: str) -> bool | float:
    """Return a number, True or False."""
    try:
        value = json.loads(text.lower())
    except ValueError:
        value = None
    if not isinstance(value, bool | float | int):
        message = f"VALUE must be a number, true or false, got {text}"
        raise click.BadParameter(message)
    return value


@click.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "dialect",
    required=True,
    metavar="DIALECT",
    help="Dialect of the layers in OUT, such as torch or keras; `backnorm dialects` lists them.",
)
@click.option(
    "--from",
    "source_dialect",
    metavar="DIALECT",
    help="Dialect of the layers in IN, such as mxnet-cudnn, if the file does not tell.",
)
@click.option("--from-format", metavar="FORMAT", help="Format of IN, if its name does not tell.")
@click.option("--to-format", metavar="FORMAT", help="Format of OUT, if its name does not tell.")
@click.option(
    "--net",
    type=click.Path(path_type=Path),
    help="Caffe's prototxt or MXNet's symbol file; without it, that file beside IN.",
)
@click.option(
    "--set",
    "settings",
    metavar="LAYER.OPTION=VALUE",
    multiple=True,
    callback=_settings,
    help="An option that IN does not store, such as '*.eps=0.001'; LAYER may contain * and ?.",
)
@click.option("--n", type=click.IntRange(min=2), help="Values per channel of a training batch.")
@click.option("--allow-loss", is_flag=True, help="Convert even if some values are lost.")
@click.pass_context
def convert(
    ctx: click.Context,
    *,
    source: Path,
    target: Path,
    dialect: str,
    source_dialect: str | None,
    from_format: str | None,
    to_format: str | None,
    net: Path | None,
    settings: tuple[tuple[str, str, Any], ...],
    n: int | None,
    allow_loss: bool,
) -> None:
    """Convert the normalization layers of the model file IN, and write OUT.

    In eval mode the converted layers compute the same output. If OUT has the format of IN, the rest
    of the file is copied; otherwise OUT gets the layers and all other arrays, whose names stay.

    Exit status: 0 converted, 2 wrong use or failure. OUT is written completely or not at all.
    """
    from backnorm.convert import files
    from backnorm.errors import BacknormError

    try:
        model = files.read(source, format=from_format, net=net)
        if source_dialect is not None:
            model = files.with_dialect(model, source_dialect)
        model = files.with_options(model, settings)
        converted, changes = files.convert_model(
            model, target, dialect, format=to_format, n=n, allow_loss=allow_loss
        )
        files.write(target, converted)
    except BacknormError as error:
        click.echo(f"Error: {error}", err=True)
        ctx.exit(2)
    _show(model, converted, changes)


def _show(model: ModelFile, converted: ModelFile, changes: tuple[LayerChange, ...]) -> None:
    from rich.console import Console

    from backnorm.report import to_table

    for note in model.notes:
        click.echo(f"note: {note}", err=True)
    copied = "left unchanged" if converted.content is not None else "copied under their names"
    counts = f"{len(changes)} layers converted, {len(model.others)} other arrays {copied}"
    click.echo(f"{converted.path.name}: {counts}.", err=True)
    terminal = Console()
    width = terminal.width if terminal.is_terminal else WIDTH_OF_FILES
    click.echo(to_table(changes, width=width, color=sys.stdout.isatty()), nl=False)
