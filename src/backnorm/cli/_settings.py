"""What [tool.backnorm] says, as options and jobs of backnorm audit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from backnorm.cli._interpreters import interpreter
from backnorm.cli._shapes import shapes_of
from backnorm.errors import BacknormError, SettingsError
from backnorm.policy.settings import ProjectSettings, read_settings

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import date

    from backnorm.cli._jobs import AuditJob

__all__ = [
    "PARAMETERS",
    "is_given",
    "jobs_of",
    "named_in",
    "read_config",
    "settings_of",
    "today_of",
]

USUAL: Final = "pyproject.toml"

PARAMETERS: Final = {
    "limit": "seconds",
    "fail-on": "fail_on",
    "args": "arguments",
    "input": "inputs",
}
"""Of options whose parameter has another name: that name."""

FIELDS: Final = {"args": "arguments", "mode": "modes", "input": "inputs"}
"""Of options of a target whose field in a job has another name: that name."""


def read_config(ctx: click.Context, _: click.Parameter, name: str | None) -> None:
    """Read the settings before other options, whose defaults they are."""
    if ctx.resilient_parsing:
        return
    path = Path(USUAL if name is None else name)
    try:
        settings = read_settings(path) if name is not None or path.is_file() else ProjectSettings()
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    ctx.meta[__name__] = settings
    ctx.default_map = {
        PARAMETERS.get(option, option): value for option, value in settings.options.items()
    }


def settings_of(ctx: click.Context) -> ProjectSettings:
    """Return what was read."""
    settings: ProjectSettings = ctx.meta[__name__]
    return settings


def today_of(ctx: click.Context) -> date:
    """Return the day of `ctx.obj`, which a test sets, or today."""
    from datetime import UTC, date, datetime

    given = ctx.obj
    return given if isinstance(given, date) else datetime.now(UTC).astimezone().date()


def is_given(ctx: click.Context, name: str) -> bool:
    """Whether an option is on the command line, and not from the settings."""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def named_in(settings: ProjectSettings) -> tuple[str, ...]:
    """Return the targets that the settings name."""
    return tuple(one.target for one in settings.targets)


def jobs_of(ctx: click.Context, targets: Sequence[str], asked: AuditJob) -> list[AuditJob]:
    """Return a job for each target.

    Parameters
    ----------
    ctx
        The call, with its settings. What they say of a target holds where the command line does
        not say otherwise.
    targets
        The targets.
    asked
        A job with the options of the command line.
    """
    said = {one.target: one.options for one in settings_of(ctx).targets}
    given = {name for name in ctx.params if is_given(ctx, name)}
    return [_job(replace(asked, target=name), said.get(name, {}), given) for name in targets]


def _job(job: AuditJob, options: Mapping[str, Any], given: Collection[str]) -> AuditJob:
    free = {
        name: value for name, value in options.items() if PARAMETERS.get(name, name) not in given
    }
    try:
        known = {FIELDS.get(name, name): _read(name, value) for name, value in free.items()}
    except (BacknormError, click.BadParameter) as error:
        message = f"[tool.backnorm], {job.target}: {error}"
        raise click.UsageError(message) from error
    whole = replace(job, **known)
    if not whole.model:
        return whole
    # It has no kind, axes, mode or interpreter, and all of it is audited.
    return type(job)(job.target, model=True, arguments=whole.arguments, inputs=whole.inputs)


def _read(name: str, value: Any) -> Any:
    """Return what a job has for an option."""
    if name == "axes":
        from backnorm.audit.subjects.axes import read_axes

        return read_axes(value).text
    if name == "input":
        return shapes_of(value)
    return interpreter(value) if name == "python" else value
