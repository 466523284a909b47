"""backnorm convert: the normalization layers of a model file, converted or folded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backnorm.cli._output import ended_by_signals, paper, say, show
from backnorm.cli._reading import read_options, read_settings

if TYPE_CHECKING:
    from backnorm.convert.files import LayerChange, LayerFold, ModelFile, NameMatch

__all__ = ["convert"]

NEITHER = "Missing option '--to': name the dialect of the layers in OUT, or pass --fold"
STEPS = 3  # reading, converting, writing
BOTH = "--fold cannot be used with --to; convert the folded file afterwards"

NO_LIKE = "--like-set is for the file of --like, which is missing"


def _pairs(
    _: click.Context, __: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Read each --rename OLD=NEW, and the pairs of each --rename @FILE."""
    from backnorm.convert.files import pairs_in
    from backnorm.errors import FileError

    pairs: list[tuple[str, str]] = []
    for text in texts:
        try:
            lines = Path(text[1:]).read_text("utf-8") if text.startswith("@") else text
            pairs += pairs_in(lines)
        except (OSError, UnicodeDecodeError) as error:
            message = f"{text[1:]} cannot be read: {error}"
            raise click.BadParameter(message) from error
        except FileError as error:
            raise click.BadParameter(error.in_command()) from error
    return tuple(pairs)


@click.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "dialect",
    metavar="DIALECT",
    help="Dialect of the layers in OUT, such as torch or keras; `backnorm dialects` lists them.",
)
@click.option(
    "--fold",
    is_flag=True,
    help="Instead of --to: fold each layer in eval into the convolution or dense layer before it.",
)
@read_options
@click.option("--to-format", metavar="FORMAT", help="Format of OUT, if its name does not tell.")
@click.option(
    "--rename",
    "pairs",
    metavar="OLD=NEW|@FILE",
    multiple=True,
    callback=_pairs,
    help="Another name for arrays of OUT, such as 'conv1.*=features.0.*', or a file of such lines.",
)
@click.option(
    "--like",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file of the network that will load OUT: its names are taken, by order and shape.",
)
@click.option(
    "--like-set",
    "like_settings",
    metavar="LAYER.OPTION=VALUE",
    multiple=True,
    callback=read_settings,
    help="As --set, for the file of --like, such as '*.scale=false'.",
)
@click.option("--n", type=click.IntRange(min=2), help="Values per channel of a training batch.")
@click.option("--allow-loss", is_flag=True, help="Convert even if the output in eval changes.")
@click.option(
    "--strict",
    is_flag=True,
    help="Refuse also a running variance that OUT estimates in another way, unless --n is given.",
)
@click.pass_context
def convert(
    ctx: click.Context,
    *,
    source: Path,
    target: Path,
    dialect: str | None,
    fold: bool,
    source_dialect: str | None,
    from_format: str | None,
    to_format: str | None,
    net: Path | None,
    settings: tuple[tuple[str, str, Any], ...],
    pairs: tuple[tuple[str, str], ...],
    like: Path | None,
    like_settings: tuple[tuple[str, str, Any], ...],
    n: int | None,
    allow_loss: bool,
    strict: bool,
    memory: int | None,
) -> None:
    """Convert the normalization layers of the model file IN, and write OUT.

    In eval mode the converted layers compute the same output. If OUT has the format of IN, the rest
    of the file is copied; otherwise OUT gets the layers and all other arrays. Kernels get the
    names and the order of axes that they have in the target's framework. With --fold, OUT is the
    network without the layers; for a state_dict, --like names one of that network.

    Exit status: 0 converted, 2 wrong use or failure. OUT is written completely or not at all.
    """
    from backnorm._meter import metered
    from backnorm.convert import files
    from backnorm.errors import BacknormError

    if fold == (dialect is not None):
        raise click.UsageError(BOTH if fold else NEITHER)
    if like_settings and like is None:
        raise click.UsageError(NO_LIKE)
    most = None if memory is None else memory << 20
    changes: tuple[LayerChange, ...] = ()
    folds: tuple[LayerFold, ...] = ()
    try:
        with ended_by_signals(), metered("convert", STEPS) as meter:
            meter.begin(f"reading {source.name}")
            model = files.read(
                source,
                format=from_format,
                net=net,
                memory=most,
                dialect=source_dialect,
                settings=settings,
            )
            twin = None
            if like is not None:
                twin = files.read(like, memory=most, settings=like_settings)
            meter.at("folding" if fold else "converting", 1, STEPS)
            if dialect is None:
                converted, folds = files.fold_model(model, target, format=to_format, like=twin)
            else:
                converted, changes = files.convert_model(
                    model,
                    target,
                    dialect,
                    format=to_format,
                    n=n,
                    allow_loss=allow_loss,
                    strict=strict,
                )
            converted = files.with_names(converted, pairs)
            match = None if twin is None else files.match_names(converted, twin)
            converted = converted if match is None else match.model
            meter.at(f"writing {target.name}", 2, STEPS)
            files.write(target, converted)
    except BacknormError as error:
        say(f"Error: {error.in_command()}")
        ctx.exit(2)
    if dialect is None:
        _show_folds(model, converted, folds, match)
    else:
        _show(model, converted, changes, match)


def _show(
    model: ModelFile,
    converted: ModelFile,
    changes: tuple[LayerChange, ...],
    match: NameMatch | None,
) -> None:
    from backnorm.errors.base import counted
    from backnorm.report import to_table
    from backnorm.report.to_notes import to_notes

    whose = "their" if converted.others.keys() == model.others.keys() else "new"
    copied = "left unchanged" if converted.content is not None else f"copied under {whose} names"
    layers, others = len(converted.layers), len(converted.others)
    counts = f"{counted(layers, 'layer')} converted, {counted(others, 'other array')} {copied}"
    folded = [model.folded] if model.folded else []
    notes = [*model.notes, *folded, *converted.notes, *to_notes(model.path.name, changes)]
    _say(converted, notes, counts, match)
    width = paper().width
    show(to_table(changes, width=width))


def _show_folds(
    model: ModelFile,
    converted: ModelFile,
    folds: tuple[LayerFold, ...],
    match: NameMatch | None,
) -> None:
    from backnorm.errors.base import counted
    from backnorm.report.to_notes import to_fold_notes
    from backnorm.report.to_table import to_fold_table

    done = sum(bool(fold.into) for fold in folds)
    left = len(folds) - done
    counts = (
        f"{counted(done, 'layer')} folded, {left} left as {'it is' if left == 1 else 'they are'}"
    )
    beside = [converted.path.with_suffix(ending).name for ending in converted.beside]
    counts += f"; {', '.join(beside)} describes the network without them" if beside else ""
    _say(converted, [*model.notes, *to_fold_notes(model.path.name, folds)], counts, match)
    width = paper().width
    show(to_fold_table(folds, width=width))


def _say(converted: ModelFile, notes: list[str], counts: str, match: NameMatch | None) -> None:
    from backnorm.errors.printable import printable

    for note in (*notes, *(match.notes if match else ())):
        say(f"note: {printable(note, one_line=True)}")
    for old, new in match.pairs if match else ():
        say(printable(f"{old}={new}", one_line=True))
    say(f"{printable(converted.path.name, one_line=True)}: {counts}.")
