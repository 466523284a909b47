"""backnorm audit: whether gradients are right, and through which statistics they go."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

import click

from backnorm.cli._commands import command_jobs, read_libraries, read_programs
from backnorm.cli._documents import document_options, write_documents
from backnorm.cli._interpreters import read_interpreter
from backnorm.cli._output import paper, say, show
from backnorm.cli._policy import policy_options
from backnorm.cli._refusals import (
    refuse_control,
    refuse_mixed,
    refuse_twice,
    refuse_with_programs,
)
from backnorm.cli._settings import is_given, jobs_of, named_in, read_config, settings_of, today_of
from backnorm.cli._shapes import read_shapes
from backnorm.host.calls import FRAMEWORKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backnorm.audit.kinds import Kind
    from backnorm.audit.record import Record
    from backnorm.audit.subjects.request import Modes
    from backnorm.cli._commands import ProgramCommand
    from backnorm.cli._jobs import AuditJob, Stage
    from backnorm.cli._policy import Policy

__all__ = ["audit"]

KINDS = ("batch", "layer", "group", "instance", "rms")
CODE: Final = re.compile(r"[A-Za-z]\d\d")
"""Of a finding or of a probe."""

DEVICE: Final = re.compile(r"(cuda|mps|xpu|cpu)(:\d{1,3})?")

SHOWN = ("all", "findings", "failures")


def _arguments(_: click.Context, __: click.Parameter, text: str | None) -> Any:
    """Return the value of the JSON of --args."""
    try:
        value = None if text is None else json.loads(text)
    except ValueError as error:
        message = f"{error}; pass for example '{{\"num_features\": 4}}' or '[4]'"
        raise click.BadParameter(message) from error
    if not isinstance(value, dict | list | None):
        message = f"it must be a JSON object or array, got {text}"
        raise click.BadParameter(message)
    return value


def _axes(_: click.Context, __: click.Parameter, text: str | None) -> str:
    """Raise BadParameter if the order of the axes cannot be read."""
    from backnorm.audit.subjects.axes import read_axes
    from backnorm.errors import RangeError

    try:
        return "" if text is None else read_axes(text).text
    except RangeError as error:
        raise click.BadParameter(str(error)) from error


def _device(_: click.Context, __: click.Parameter, name: str | None) -> str:
    """Raise BadParameter for what is no device; whether it is here, its framework says."""
    if name is not None and not DEVICE.fullmatch(name):
        message = f"{name} is not cuda, mps, xpu or cpu, or one of these with a number, as cuda:1"
        raise click.BadParameter(message)
    return name or ""


def _seconds(_: click.Context, __: click.Parameter, seconds: float | None) -> float | None:
    """Raise BadParameter for not-a-number, which is in every range."""
    if seconds is not None and math.isnan(seconds):
        message = "nan is not a number of seconds; pass for example 60"
        raise click.BadParameter(message)
    return seconds


def _explain(ctx: click.Context, _: click.Parameter, asked: bool) -> None:  # noqa: FBT001
    """Print what the columns mean, in place of an audit."""
    from backnorm.report.columns import to_columns

    if asked and not ctx.resilient_parsing:
        codes = [target for target in ctx.params["targets"] if CODE.fullmatch(target)]
        if codes:
            message = f"--explain is about the columns; use `backnorm explain {' '.join(codes)}`"
            raise click.UsageError(message)
        show(to_columns(min(paper().width, 92)))
        ctx.exit(0)


@click.command(epilog=f"Frameworks: {', '.join(FRAMEWORKS)}.")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", is_eager=True)
@click.option(
    "--config",
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=read_config,
    help="File with [tool.backnorm].  [default: pyproject.toml of the current folder]",
)
@click.option("--kind", type=click.Choice(KINDS), help="Kind of normalization, if not guessed.")
@click.option(
    "--axes",
    metavar="LETTERS",
    callback=_axes,
    help="Order of the axes of x, if not guessed: N, C for channels, other letters; NHWC, NTC.",
)
@click.option(
    "--args",
    "arguments",
    metavar="JSON",
    callback=_arguments,
    help="Arguments of the class or function: a JSON object or array.",
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
    help="With --model: shape of an input, 8,3,64,64, or 8,16:1000 for integers below 1000.",
)
@click.option(
    "--python",
    metavar="INTERPRETER",
    callback=read_interpreter,
    help="Run the targets under another Python (3.6 or newer, with NumPy and the framework).",
)
@click.option(
    "--device",
    metavar="NAME",
    callback=_device,
    help="Where PyTorch or JAX makes the arrays: cuda, mps, xpu or cpu, or cuda:1 for the second.",
)
@click.option(
    "--program",
    "programs",
    multiple=True,
    metavar="CMD",
    callback=read_programs,
    help="Audit a program of any language that speaks the program protocol (docs/programs.md); "
    "backnorm program cpp|c|js|python|rust|julia prints a helper for it.",
)
@click.option(
    "--library",
    "libraries",
    multiple=True,
    metavar="FILE:FUNCTION",
    callback=read_libraries,
    help="Audit a C function in a shared library, such as ./libnorm.so:norm.",
)
@click.option(
    "--limit",
    "seconds",
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="SECONDS",
    callback=_seconds,
    help="Stop a gradient, a probe, or a layer of a model that takes longer.  [default: 120]",
)
@document_options
@policy_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "github"]),
    default="text",
    show_default=True,
    help="Output to stdout: a table, or annotations for GitHub.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Only judge the gradient of a first call: about 1 s for a layer of PyTorch, 3 to 5 s "
    "where a framework compiles each shape of x, as JAX does; without it 1.5 s, and 5 to 20 s.",
)
@click.option(
    "--control",
    is_flag=True,
    help="Replace dx by some of its paths, and see that the audit says so of the target.",
)
@click.option(
    "--only",
    type=click.Choice(SHOWN),
    default="all",
    show_default=True,
    help="Which layers the table shows: those with findings, or those that are failures; the "
    "summary and the files have all of them.",
)
@click.option(
    "--explain",
    is_flag=True,
    expose_value=False,
    callback=_explain,
    help="Say what the columns of the table mean, and stop.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show findings in full, notes and all probes.")
@click.pass_context
def audit(
    ctx: click.Context,
    targets: tuple[str, ...],
    *,
    kind: Kind | None,
    axes: str,
    arguments: Any,
    mode: Modes,
    model: bool,
    inputs: tuple[dict[str, Any], ...],
    python: str,
    device: str,
    programs: tuple[ProgramCommand, ...],
    libraries: tuple[ProgramCommand, ...],
    seconds: float | None,
    form: str,
    quick: bool,
    control: bool,
    only: str,
    verbose: bool,
    files: Mapping[str, str | None],
    policy: Policy,
) -> None:
    """Audit normalization layers: compare their gradients with the derivative of their output.

    TARGET is package.module:Name, package.module.Name, path/to/file.py:Name, a framework, "engine"
    (backnorm's functions) or "specimens" (layers with known faults). Without TARGET, the targets of
    [tool.backnorm] in pyproject.toml are audited, or else the engine and every installed framework.

    With --model, TARGET is a torch.nn.Module, or a callable that returns a module or a pair
    (module, inputs). Layers are recognized by the names of their classes (MyNorm, BN2d, RevIN), by
    running statistics, and by their output.

    With --program or --library the target is a program or a C function; no TARGET is needed then.

    Exit status: 0 all sound, with no findings but notes (codes N, R and Z); 1 other findings; 2
    wrong use, a target that could not be audited or not be judged, or an error in the audit itself.
    With --model, and in a framework's list, a layer that was not judged counts as a finding: 1.
    Findings that are ignored are shown, and do not count; what was not judged stays so.
    With --control 0 if every control got the verdict that it must get, 1 otherwise, 2 as above.
    """
    from backnorm.cli._jobs import AuditJob

    files = {**files, "baseline": policy.baseline}
    refuse_twice(files, form)
    others = {"kind": kind, "axes": axes, "mode": mode, "python": python, "quick": quick}
    others["control"] = control
    others["device"] = device
    given = {name: value for name, value in others.items() if is_given(ctx, name)}
    refuse_mixed(targets, model, inputs, given)
    refuse_control(files, form, control=control)
    commands = (*programs, *libraries)
    alone = {"model": "model", "python": "python", "args": "arguments", "device": "device"}
    refuse_with_programs(
        commands, targets, {name: is_given(ctx, parameter) for name, parameter in alone.items()}
    )
    settings = settings_of(ctx)
    asked = AuditJob(
        "",
        kind,
        arguments,
        mode,
        python,
        model,
        inputs,
        quick=quick,
        axes=axes,
        control=control,
        device=device,
    )
    chosen = targets or (() if commands else named_in(settings) or _defaults())
    jobs = [*jobs_of(ctx, chosen, asked), *command_jobs(commands, asked)]
    elsewhere: dict[str, str] = {}
    unit = "control" if control else "layer"
    records = list(_with_progress(jobs, seconds, elsewhere))
    if not control:
        records = policy.applied(records, settings.accepted, today_of(ctx))
    unwritten = write_documents(records, files, elsewhere, unit)
    if "-" not in files.values():
        _show(records, form, unit, only=only, verbose=verbose)
    if unwritten:
        # Only now: what the audit found must not be lost with the file.
        raise click.UsageError(" ".join(unwritten))
    if control:
        ctx.exit(_status_of_controls(records))
    ctx.exit(policy.status(records, [job.target for job in jobs if not job.model]))


def _defaults() -> tuple[str, ...]:
    """Return the engine and every installed framework; name the other frameworks on stderr."""
    from backnorm.cli._targets import is_installed

    missing = [name for name in FRAMEWORKS if not is_installed(name)]
    if missing:
        note = "Not audited, since not installed (install them, or pass --python)"
        say(f"{note}: {', '.join(missing)}")
    return ("engine", *(name for name in FRAMEWORKS if name not in missing))


def _with_progress(
    jobs: Sequence[AuditJob], seconds: float | None, elsewhere: dict[str, str]
) -> Iterator[Record]:
    """Audit all jobs, and show on stderr which layer and probe are running."""
    from backnorm.audit.thresholds import HANG_SECONDS
    from backnorm.cli._jobs import audit_jobs
    from backnorm.cli._meter import metered

    with metered("audit") as meter:

        def advance(stage: Stage) -> None:
            text = f"{stage.name}: {stage.probe}" if stage.probe else stage.name
            meter.at(text, stage.done, stage.total or None)

        yield from audit_jobs(
            jobs,
            advance,
            seconds=HANG_SECONDS if seconds is None else seconds,
            environment=elsewhere,
        )


def _show(records: Sequence[Record], form: str, unit: str, *, only: str, verbose: bool) -> None:
    """Write the table, or the annotations for GitHub, to stdout."""
    from backnorm.report import to_github, to_text

    if form == "github":
        show(to_github(records))
        return
    width, color = paper()
    show(to_text(records, width=width, color=color, verbose=verbose, unit=unit, only=only))


def _status_of_controls(records: Sequence[Record]) -> int:
    if not all(record.audited for record in records):
        return 2
    return 0 if all(record.as_expected() for record in records) else 1
