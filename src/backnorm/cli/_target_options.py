"""Options of backnorm audit that say what a target is, and how it is run."""

from __future__ import annotations

import json
import math
import os
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from backnorm.cli._commands import read_libraries, read_programs
from backnorm.cli._interpreters import read_interpreter
from backnorm.cli._shapes import read_shapes

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["target_options"]

TargetCommand = TypeVar("TargetCommand", bound="Callable[..., None]")

MOST_WORKERS: Final = 2
"""Processes that are started unasked: each has the whole framework in its memory."""

KINDS: Final = ("batch", "layer", "group", "instance", "rms")

DEVICE: Final = re.compile(r"(cuda|mps|xpu|cpu)(:\d{1,3})?")


def target_options(command: TargetCommand) -> TargetCommand:
    """Give a command these options, in the order of `OPTIONS`."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


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


def _workers(_: click.Context, __: click.Parameter, count: int | None) -> int:
    """Return how many processes share a list: by default two, where there are two cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(MOST_WORKERS, cores or 1) if count is None else count


OPTIONS: Final = (
    click.option("--kind", type=click.Choice(KINDS), help="Kind of normalization, if not guessed."),
    click.option(
        "--axes",
        metavar="LETTERS",
        callback=_axes,
        help="Order of the axes of x, if not guessed: N, C for channels, other letters; NHWC, NTC.",
    ),
    click.option(
        "--args",
        "arguments",
        metavar="JSON",
        callback=_arguments,
        help="Arguments of the class or function: a JSON object or array.",
    ),
    click.option(
        "--mode",
        type=click.Choice(["train", "eval", "both"]),
        default="both",
        show_default=True,
        help="Which mode to audit.",
    ),
    click.option(
        "--model", is_flag=True, help="Targets are PyTorch models: audit each layer in its place."
    ),
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="SHAPE",
        callback=read_shapes,
        help="With --model: shape of an input, 8,3,64,64, or 8,16:1000 for integers below 1000.",
    ),
    click.option(
        "--python",
        metavar="INTERPRETER",
        callback=read_interpreter,
        help="Run the targets under another Python (3.6 or newer, with NumPy and the framework).",
    ),
    click.option(
        "--device",
        metavar="NAME",
        callback=_device,
        help="Where PyTorch or JAX makes the arrays: cuda, mps, xpu or cpu; cuda:1 is the second.",
    ),
    click.option(
        "--program",
        "programs",
        multiple=True,
        metavar="CMD",
        callback=read_programs,
        help="Audit a program of any language that speaks the program protocol (docs/programs.md); "
        "backnorm program cpp|c|js|python|rust|julia prints a helper for it.",
    ),
    click.option(
        "--library",
        "libraries",
        multiple=True,
        metavar="FILE:FUNCTION",
        callback=read_libraries,
        help="Audit a C function in a shared library, such as ./libnorm.so:norm.",
    ),
    click.option(
        "--ranks",
        type=click.IntRange(2, 64),
        callback=lambda _, __, count: count or 0,
        metavar="N",
        help="Run a layer of PyTorch in N processes too, or one of JAX on N parts, each with a "
        "part of the batch, and compare it with one process.",
    ),
    click.option(
        "--limit",
        "seconds",
        type=click.FloatRange(min=0.0, min_open=True),
        metavar="SECONDS",
        callback=_seconds,
        help="Stop a gradient, a probe, or a layer of a model that takes longer.  [default: 120]",
    ),
    click.option(
        "--jobs",
        "workers",
        type=click.IntRange(min=1),
        metavar="N",
        callback=_workers,
        help="Processes that share the layers of a framework, each with 0.3 GB of memory or more.  "
        "[default: 2, where there are 2 cores]",
    ),
)
