"""backnorm audit: through which statistics gradients go, and whether they are right."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backnorm.audit.kinds import Kind
    from backnorm.audit.record import Record
    from backnorm.audit.registry import Calls
    from backnorm.cli._jobs import Job

__all__ = ["audit"]

KINDS = ("batch", "layer", "group", "instance", "rms")


def _arguments(_: click.Context, __: click.Parameter, text: str | None) -> Any:
    """Read the JSON of --args."""
    try:
        value = None if text is None else json.loads(text)
    except ValueError as error:
        message = f"{error}; pass for example '{{\"num_features\": 4}}' or '[4]'"
        raise click.BadParameter(message) from error
    if not isinstance(value, dict | list | None):
        message = f"must be a JSON object or array, got {text}"
        raise click.BadParameter(message)
    return value


def _interpreter(_: click.Context, __: click.Parameter, name: str) -> str:
    """Refuse at once what is no program."""
    path = shutil.which(name) if name else ""
    if path is None:
        message = f"{name} must be a Python interpreter: its path, or its name if it is on PATH"
        raise click.BadParameter(message)
    return path


def _writable(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    """Refuse at once what would fail after the audit."""
    if name in (None, "-") or Path(name).parent.is_dir():
        return name
    message = f"{Path(name).parent} must be a directory that exists"
    raise click.BadParameter(message)


@click.command()
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option("--kind", type=click.Choice(KINDS), help="Kind of normalization, if not told.")
@click.option(
    "--args",
    "arguments",
    metavar="JSON",
    callback=_arguments,
    help="Arguments of the class or function: an object or an array.",
)
@click.option(
    "--mode",
    type=click.Choice(["train", "eval", "both"]),
    default="both",
    show_default=True,
    help="Which mode to audit.",
)
@click.option(
    "--python",
    metavar="INTERPRETER",
    default="",
    callback=_interpreter,
    help="Run targets under another Python (3.6 or newer, with NumPy and their framework).",
)
@click.option(
    "--limit",
    "seconds",
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="SECONDS",
    help="How long one layer may take before it is given up.  [default: 60]",
)
@click.option(
    "--json", "json_file", metavar="FILE", callback=_writable, help="Write JSON too; - for stdout."
)
@click.pass_context
def audit(
    ctx: click.Context,
    targets: tuple[str, ...],
    *,
    kind: Kind | None,
    arguments: Any,
    mode: Calls,
    python: str,
    seconds: float | None,
    json_file: str | None,
) -> None:
    """Audit normalization layers: find what their gradients leave out.

    TARGET is package.module:Name, package.module.Name, path/to/file.py:Name, engine, specimens,
    or a framework (torch, jax, flax, haiku, equinox, keras, tensorflow, tinygrad, mxnet, paddle,
    chainer, caffe). Without a target: the engine and every framework found.

    Exit status: 0 all sound, 1 some not, 2 wrong use or a target that could not be audited.
    """
    from backnorm.cli._jobs import Job
    from backnorm.errors import FileError

    chosen = targets or _defaults()
    jobs = [Job(target, kind, arguments, mode, python) for target in chosen]
    elsewhere: dict[str, str] = {}
    records = list(_with_progress(jobs, seconds, elsewhere))
    try:
        _show(records, json_file, elsewhere)
    except FileError as error:
        raise click.UsageError(str(error)) from error
    ctx.exit(_status(records))


def _defaults() -> tuple[str, ...]:
    """Return the engine and every framework found; say which are not there."""
    from backnorm.cli._targets import FRAMEWORKS, is_installed

    missing = [name for name in FRAMEWORKS if not is_installed(name)]
    if missing:
        note = "not installed, so that their layers are left out (--python runs them elsewhere)"
        click.echo(f"{note}: {', '.join(missing)}", err=True)
    return ("engine", *(name for name in FRAMEWORKS if name not in missing))


def _with_progress(
    jobs: Sequence[Job], seconds: float | None, elsewhere: dict[str, str]
) -> Iterator[Record]:
    """Audit all jobs, showing on stderr which one is at work."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from backnorm.audit.thresholds import HANG_SECONDS
    from backnorm.cli._jobs import audit_jobs

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("starting", total=None)
        yield from audit_jobs(
            jobs,
            lambda name: bar.update(task, description=name),
            seconds=HANG_SECONDS if seconds is None else seconds,
            environment=elsewhere,
        )


def _show(records: Sequence[Record], json_file: str | None, elsewhere: Mapping[str, str]) -> None:
    from rich.console import Console

    from backnorm.cli._files import write_atomically
    from backnorm.report import to_json, to_text

    if json_file == "-":
        click.echo(to_json(records, elsewhere), nl=False)
        return
    if json_file is not None:
        write_atomically(Path(json_file), to_json(records, elsewhere))
    terminal = Console()
    width = terminal.width if terminal.is_terminal else WIDTH_OF_FILES
    click.echo(to_text(records, width=width, color=sys.stdout.isatty()), nl=False)


WIDTH_OF_FILES = 120


def _status(records: Sequence[Record]) -> int:
    if not all(record.audited for record in records):
        return 2
    return 0 if all(record.sound for record in records) else 1
