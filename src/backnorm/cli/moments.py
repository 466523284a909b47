"""backnorm moments: exact mean and variance of the channels of arrays in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backnorm._meter import metered
from backnorm.cli._output import paper, say, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm.moments import Moments

__all__ = ["moments"]


@click.command()
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@click.option(
    "--axis", default=1, show_default=True, metavar="N", help="The axis that holds the channels."
)
@click.option(
    "--array", "names", multiple=True, metavar="NAME", help="Only this array of files with several."
)
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    help="Write the result as JSON to FILE; - is stdout, in place of the table.",
)
@click.option(
    "--out",
    "out_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the exact sums to FILE, named .moments, for another call to add to others.",
)
@click.pass_context
def moments(
    ctx: click.Context,
    *,
    files: tuple[Path, ...],
    axis: int,
    names: tuple[str, ...],
    json_file: str | None,
    out_file: Path | None,
) -> None:
    """Compute mean and variance of each channel of the arrays in all FILEs together.

    FILE is .npy, .npz, .safetensors, .parquet (each column of numbers is an array), a folder .zarr,
    or .moments of an earlier call. Arrays of one name are parts of one data set. The sums are
    exact: no digit depends on how the data were cut into files, on their order, or on the machines
    that computed the parts.

    Exit status: 0 done, 2 wrong use or failure; then nothing is written.
    """
    from backnorm.errors import BacknormError

    try:
        arrays = _total(files, axis, names)
        _write(arrays, json_file, out_file)
    except BacknormError as error:
        say(f"Error: {error.in_command()}")
        ctx.exit(2)


def _total(files: Sequence[Path], axis: int, names: Sequence[str]) -> dict[str, Moments]:
    """Return the moments of each name, of all files."""
    from backnorm.errors import FileError
    from backnorm.moments import Moments
    from backnorm.moments.sources import pieces

    total: dict[str, Moments] = {}
    sizes = [_size(file) for file in files]
    with metered("moments", sum(sizes)) as meter:
        done = 0
        for file, size in zip(files, sizes, strict=True):
            read = 0
            for piece in pieces(file, axis):
                if not names or piece.name in names:
                    total.setdefault(piece.name, Moments()).merge(piece.moments)
                read += piece.size
                meter.at(file.name, done + min(read, size), sum(sizes))
            done += size
    missing = [name for name in names if name not in total]
    if missing:
        raise FileError.no_array(missing[0], [file.name for file in files])
    return total


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; 0 of what is not there."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _write(arrays: dict[str, Moments], json_file: str | None, out_file: Path | None) -> None:
    from backnorm.cli._files import write_atomically
    from backnorm.convert.files._whole import write_whole
    from backnorm.errors import FileError
    from backnorm.report.moments import moments_json, moments_table

    if out_file is not None:
        if len(arrays) != 1:
            raise FileError.several_arrays(out_file.name, list(arrays))
        write_whole(out_file, next(iter(arrays.values())).to_bytes())
    if json_file is not None and json_file != "-":
        write_atomically(Path(json_file), moments_json(arrays))
    if json_file == "-":
        show(moments_json(arrays))
        return
    width, color = paper()
    show(moments_table(arrays, width=width, color=color))
