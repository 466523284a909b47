"""backnorm audit: whether gradients are right, and through which statistics they go."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import click

from backnorm.cli._commands import command_jobs
from backnorm.cli._documents import document_options, write_documents
from backnorm.cli._output import paper, say, show
from backnorm.cli._policy import policy_options
from backnorm.cli._refusals import (
    refuse_control,
    refuse_mixed,
    refuse_twice,
    refuse_with_files,
    refuse_with_programs,
    refuse_with_ranks,
)
from backnorm.cli._settings import (
    PARAMETERS,
    is_given,
    jobs_of,
    named_in,
    read_config,
    settings_of,
    today_of,
)
from backnorm.cli._target_options import target_options
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

SHOWN: Final = ("all", "findings", "failures")

CODE: Final = re.compile(r"[A-Za-z]\d\d")
"""Of a finding or of a probe."""


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
@target_options
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
    workers: int,
    ranks: int,
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

    TARGET may be an ONNX file too, model.onnx, or one node of it, model.onnx:NAME. Each
    normalization is audited in its place; the verdict is "forward only" where there is no gradient.

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
    python_only = ("kind", "axes", "args", "mode", "model", "control")
    refuse_with_files(
        targets, {name: is_given(ctx, PARAMETERS.get(name, name)) for name in python_only}
    )
    refuse_with_ranks(ranks, targets, commands, given, model=model)
    settings = settings_of(ctx)
    asked = AuditJob(
        "",
        kind,
        arguments,
        "train" if ranks else mode,
        python,
        model,
        inputs,
        quick=quick,
        axes=axes,
        control=control,
        device=device,
        ranks=ranks,
    )
    chosen = targets or (() if commands else named_in(settings) or _defaults())
    jobs = [*jobs_of(ctx, chosen, asked), *command_jobs(commands, asked)]
    elsewhere: dict[str, str] = {}
    unit = "control" if control else "layer"
    records = list(_with_progress(jobs, seconds, elsewhere, workers))
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
    jobs: Sequence[AuditJob], seconds: float | None, elsewhere: dict[str, str], workers: int
) -> Iterator[Record]:
    """Audit all jobs, and show on stderr which layer and probe are running."""
    from backnorm._meter import metered
    from backnorm.audit.thresholds import HANG_SECONDS
    from backnorm.cli._jobs import audit_jobs

    with metered("audit") as meter:

        def advance(stage: Stage) -> None:
            text = f"{stage.name}: {stage.probe}" if stage.probe else stage.name
            meter.at(text, stage.done, stage.total or None)

        yield from audit_jobs(
            jobs,
            advance,
            seconds=HANG_SECONDS if seconds is None else seconds,
            environment=elsewhere,
            workers=workers,
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
