"""Options of backnorm audit that exclude each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FAILING: Final = ("junit", "sarif", "gitlab", "markdown")
"""Documents in which a wrong gradient is a failure."""

__all__ = [
    "refuse_control",
    "refuse_mixed",
    "refuse_twice",
    "refuse_with_files",
    "refuse_with_programs",
    "refuse_with_ranks",
]


def refuse_mixed(
    targets: Sequence[str],
    model: bool,  # noqa: FBT001 - as the command has it
    inputs: Sequence[object],
    others: Mapping[str, object],
) -> None:
    """Raise UsageError if --model misses a target, or comes with options that it cannot use."""
    message = ""
    if inputs and not model:
        message = "--input is the input of a model; pass --model too"
    elif model and not targets:
        message = "--model needs a target, such as path/to/model.py:build"
    elif model:
        defaults = {"kind": None, "axes": "", "mode": "both", "python": "", "quick": False}
        defaults |= {"control": False, "device": ""}
        given = next((name for name, value in others.items() if value != defaults[name]), "")
        message = f"--{given} cannot be used with --model" if given else ""
    if message:
        raise click.UsageError(message)


def refuse_with_programs(
    programs: Sequence[object], targets: Sequence[str], others: Mapping[str, object]
) -> None:
    """Raise UsageError if --program or --library comes with what it cannot be used with."""
    from backnorm.cli._targets import TARGETS

    given = next((f"--{name}" for name, value in others.items() if value), "")
    given = given or next((name for name in targets if name in TARGETS), "")
    if programs and given:
        message = f"{given} cannot be used with --program and --library; audit it in another run"
        raise click.UsageError(message)


def refuse_with_files(targets: Sequence[str], given: Mapping[str, object]) -> None:
    """Raise UsageError if an ONNX file comes with an option about an object of Python."""
    from backnorm.host.model_file import file_in

    name = next((name for name in targets if file_in(name)), "")
    option = next((f"--{option}" for option, value in given.items() if value), "")
    if name and option:
        message = f"{option} cannot be used with {name}; audit the file in another run"
        raise click.UsageError(message)


def refuse_with_ranks(
    ranks: int,
    targets: Sequence[str],
    programs: Sequence[object],
    others: Mapping[str, object],
    *,
    model: bool,
) -> None:
    """Raise UsageError if --ranks misses a layer, or comes with options that it cannot use."""
    from backnorm.cli._targets import TARGETS
    from backnorm.host.model_file import file_in

    if not ranks:
        return
    given = next((f"--{name}" for name in ("mode", "control", "device") if others.get(name)), "")
    given = "--model" if model else given
    given = "--program and --library" if programs else given
    lists = next((name for name in targets if name in TARGETS or file_in(name)), "")
    message = ""
    if not targets and not programs:
        message = "--ranks needs a target, such as path/to/layers.py:MySyncBatchNorm"
    elif lists:
        message = f"--ranks needs one layer of PyTorch or JAX, not {lists}; name a layer, such as "
        message += "torch.nn.BatchNorm2d"
    elif given:
        message = f"--ranks cannot be used with {given}; audit it in another run"
    if message:
        raise click.UsageError(message)


def refuse_control(files: Mapping[str, str | None], form: str, *, control: bool) -> None:
    """Raise UsageError if --control comes with a report in which a wrong gradient is a failure."""
    written = [f"--{name}" for name in FAILING if files[name] is not None]
    given = (*written, *["--format github"] * (form == "github"), "")[0]
    if control and given:
        message = f"{given} cannot be used with --control, whose gradients are wrong on purpose"
        raise click.UsageError(message)


def refuse_twice(files: Mapping[str, str | None], form: str) -> None:
    """Raise UsageError if two documents have the same file."""
    chosen = [name for name in files.values() if name is not None]
    places = ["-" if name == "-" else str(Path(name).resolve()) for name in chosen]
    twice = next(
        (name for name, place in zip(chosen, places, strict=True) if places.count(place) > 1), ""
    )
    if not twice and form != "text" and "-" in chosen:
        twice = "-"
    if twice:
        place = "stdout" if twice == "-" else twice
        message = f"{place} can hold only one document; name another file for the other"
        raise click.UsageError(message)
