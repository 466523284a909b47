"""backnorm audit: through which statistics gradients go, and whether they are right."""

from __future__ import annotations

import json
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backnorm.cli._shapes import read_shapes
from backnorm.host.calls import FRAMEWORKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from backnorm.audit.kinds import Kind
    from backnorm.audit.record import Record
    from backnorm.audit.subjects.request import Modes
    from backnorm.cli._jobs import AuditJob, Stage

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
    from backnorm.cli._files import refuse_unwritable
    from backnorm.errors import FileError

    if name in (None, "-"):
        return name
    try:
        refuse_unwritable(Path(name))
    except FileError as error:
        raise click.BadParameter(str(error)) from error
    return name


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
    "--model", is_flag=True, help="Targets are PyTorch models: audit each layer in its place."
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="SHAPE",
    callback=read_shapes,
    help="What to call a model with, once an argument: 8,3,64,64, or 8,16:1000 for integers.",
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
    help="How long one layer may take before it is given up.  [default: 120]",
)
@click.option(
    "--json", "json_file", metavar="FILE", callback=_writable, help="Write JSON too; - for stdout."
)
@click.option(
    "--html",
    "html_file",
    metavar="FILE",
    callback=_writable,
    help="Write a page with drawings too; - for stdout.",
)
@click.option(
    "--junit",
    "junit_file",
    metavar="FILE",
    callback=_writable,
    help="Write JUnit XML for CI too; - for stdout.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "github"]),
    default="text",
    show_default=True,
    help="What to write to stdout: a table, or annotations for GitHub.",
)
@click.option(
    "--quick", is_flag=True, help="Look at the gradient of a first call alone: under 2 s a target."
)
@click.option("-v", "--verbose", is_flag=True, help="Findings in full, notes, and all probes.")
@click.pass_context
def audit(
    ctx: click.Context,
    targets: tuple[str, ...],
    *,
    kind: Kind | None,
    arguments: Any,
    mode: Modes,
    model: bool,
    inputs: tuple[dict[str, Any], ...],
    python: str,
    seconds: float | None,
    json_file: str | None,
    html_file: str | None,
    junit_file: str | None,
    form: str,
    quick: bool,
    verbose: bool,
) -> None:
    """Audit normalization layers: find what their gradients leave out.

    TARGET is package.module:Name, package.module.Name, path/to/file.py:Name, engine, specimens,
    or a framework ({frameworks}). Without a target: the engine and every framework found. With
    --model a target names a torch Module, or what builds one; it may come with its inputs: a pair
    (model, inputs).

    Exit status: 0 all sound, 1 some not, 2 wrong use or a target that could not be audited.
    """
    from backnorm.cli._jobs import AuditJob
    from backnorm.errors import FileError

    files = {"json": json_file, "html": html_file, "junit": junit_file}
    _refuse_twice(files, form)
    others = {"kind": kind, "mode": mode, "python": python, "quick": quick}
    _refuse_mixed(targets, model, inputs, others)
    chosen = targets or _defaults()
    jobs = [
        AuditJob(target, kind, arguments, mode, python, model, inputs, quick=quick)
        for target in chosen
    ]
    elsewhere: dict[str, str] = {}
    records = list(_with_progress(jobs, seconds, elsewhere))
    try:
        _write(records, files, elsewhere)
    except FileError as error:
        raise click.UsageError(str(error)) from error
    if "-" not in files.values():
        _show(records, form, verbose=verbose)
    ctx.exit(_status(records))


audit.help = (audit.help or "").format(frameworks=", ".join(FRAMEWORKS))


def _defaults() -> tuple[str, ...]:
    """Return the engine and every framework found; say which are not there."""
    from backnorm.cli._targets import is_installed

    missing = [name for name in FRAMEWORKS if not is_installed(name)]
    if missing:
        note = "not installed, so that their layers are left out (--python runs them elsewhere)"
        click.echo(f"{note}: {', '.join(missing)}", err=True)
    return ("engine", *(name for name in FRAMEWORKS if name not in missing))


def _with_progress(
    jobs: Sequence[AuditJob], seconds: float | None, elsewhere: dict[str, str]
) -> Iterator[Record]:
    """Audit all jobs, showing on stderr what is at work."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from backnorm.audit.thresholds import HANG_SECONDS
    from backnorm.cli._jobs import audit_jobs

    console = Console(stderr=True)
    columns = (BarColumn(20), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("starting", total=None)

        def show(stage: Stage) -> None:
            what = f"{stage.name}: {stage.probe}" if stage.probe else stage.name
            bar.update(task, description=what, completed=stage.done, total=stage.total or None)

        yield from audit_jobs(
            jobs,
            show,
            seconds=HANG_SECONDS if seconds is None else seconds,
            environment=elsewhere,
        )


def _refuse_mixed(
    targets: Sequence[str],
    model: bool,  # noqa: FBT001 - as the command has it
    inputs: Sequence[object],
    others: Mapping[str, object],
) -> None:
    """Refuse what says nothing about a model, and what says something about a model only."""
    message = ""
    if inputs and not model:
        message = "--input says what a model is called with; pass --model too"
    elif model and not targets:
        message = "--model needs a target, such as path/to/model.py:build"
    elif model:
        usual = {"kind": None, "mode": "both", "python": "", "quick": False}
        given = next((name for name, value in others.items() if value != usual[name]), "")
        message = f"--{given} is not for a model, which is audited as it is set" if given else ""
    if message:
        raise click.UsageError(message)


def _refuse_twice(files: Mapping[str, str | None], form: str) -> None:
    """Refuse two documents in one place."""
    chosen = [name for name in files.values() if name is not None]
    places = ["-" if name == "-" else str(Path(name).resolve()) for name in chosen]
    twice = next(
        (name for name, place in zip(chosen, places, strict=True) if places.count(place) > 1), ""
    )
    if not twice and form != "text" and "-" in chosen:
        twice = "-"
    if twice:
        place = "stdout" if twice == "-" else twice
        message = f"{place} can hold one document; give each of them a file of its own"
        raise click.UsageError(message)


def _write(
    records: Sequence[Record], files: Mapping[str, str | None], elsewhere: Mapping[str, str]
) -> None:
    """Write the documents that were asked for."""
    from backnorm.cli._files import write_atomically
    from backnorm.report import to_html, to_json, to_junit

    writers: dict[str, Callable[[Sequence[Record]], str]]
    writers = {"json": partial(to_json, elsewhere=elsewhere), "html": to_html, "junit": to_junit}
    for name, file in files.items():
        if file == "-":
            click.echo(writers[name](records), nl=False)
        elif file is not None:
            write_atomically(Path(file), writers[name](records))


def _show(records: Sequence[Record], form: str, *, verbose: bool) -> None:
    """Write to stdout what people or GitHub read."""
    from rich.console import Console

    from backnorm.report import to_github, to_text

    if form == "github":
        click.echo(to_github(records), nl=False)
        return
    terminal = Console()
    width = terminal.width if terminal.is_terminal else WIDTH_OF_FILES
    color = sys.stdout.isatty()
    click.echo(to_text(records, width=width, color=color, verbose=verbose), nl=False)


WIDTH_OF_FILES = 120


def _status(records: Sequence[Record]) -> int:
    if not all(record.audited for record in records):
        return 2
    return 0 if all(record.clean for record in records) else 1
