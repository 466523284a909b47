"""The options of the commands that read model files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., None]

__all__ = ["read_options", "read_settings"]


def read_options(command: Command) -> Command:
    """Add what may be said of a file that is read: arguments of `backnorm.convert.files.read`."""
    options = (
        click.option(
            "--from",
            "source_dialect",
            metavar="DIALECT",
            help="Dialect of the layers that are read, such as mxnet-cudnn, if the file does not "
            "tell.",
        ),
        click.option(
            "--from-format", metavar="FORMAT", help="Format of the file, if its name does not tell."
        ),
        click.option(
            "--net",
            type=click.Path(path_type=Path),
            help="Caffe's prototxt or MXNet's symbol file; without it, that file beside.",
        ),
        click.option(
            "--set",
            "settings",
            metavar="LAYER.OPTION=VALUE",
            multiple=True,
            callback=read_settings,
            help="An option that the file does not store, such as '*.eps=0.001'; LAYER may contain "
            "* and ?.",
        ),
        click.option(
            "--memory",
            metavar="MIB",
            type=click.IntRange(min=0),
            help="Memory that a file may take, in MiB; without it, 4 times its size and 16 MiB.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def read_settings(
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
        settings.append((layer, option, value if option == "kind" else _value(value)))
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
