"""What a project sets for its audits: the table [tool.backnorm] of pyproject.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

from backnorm.audit.kinds import KINDS
from backnorm.errors import SettingsError
from backnorm.policy.acceptance import Acceptance, checked_code

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["ProjectSettings", "ProjectTarget", "read_settings"]

WHERE: Final = "[tool.backnorm]"


@dataclass(frozen=True, slots=True)
class ProjectTarget:
    """A target that a project names.

    Attributes
    ----------
    target
        What to audit.
    options
        kind, axes, args, mode, python, device, model and input, as far as they are there.
    """

    target: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProjectSettings:
    """What [tool.backnorm] says.

    Attributes
    ----------
    targets
        What to audit where the command line names nothing.
    options
        Options of the command line, by their names.
    accepted
        Findings that do not count.
    """

    targets: tuple[ProjectTarget, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    accepted: tuple[Acceptance, ...] = ()


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_day(value: Any) -> bool:
    return isinstance(value, date) and not isinstance(value, datetime)


TEXT: Final = (_is_text, "text")
TEXTS: Final = (_is_texts, "a list of texts")
FLAG: Final = (_is_flag, "true or false")
MODE: Final = (lambda value: value in ("train", "eval", "both"), "'train', 'eval' or 'both'")

OPTIONS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "mode": MODE,
    "python": TEXT,
    "device": TEXT,
    "limit": (_is_number, "a number of seconds"),
    "quick": FLAG,
    "select": TEXTS,
    "ignore": TEXTS,
    "baseline": TEXT,
    "fail-on": (
        lambda value: value in ("unsound", "finding", "never"),
        "'unsound', 'finding' or 'never'",
    ),
}
"""Of each key that is an option: the values that it takes, and the same in words."""

OF_TARGET: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "target": TEXT,
    "kind": (lambda value: value in KINDS, f"one of {', '.join(map(repr, KINDS))}"),
    "axes": TEXT,
    "args": (lambda value: isinstance(value, list | dict), "a list or a table"),
    "mode": MODE,
    "python": TEXT,
    "device": TEXT,
    "model": FLAG,
    "input": TEXTS,
}

LIST: Final = (lambda value: isinstance(value, list), "a list")

OF_ACCEPTED: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "finding": TEXT,
    "target": TEXT,
    "reason": TEXT,
    "until": (_is_day, "a date such as 2030-12-31, without quotation marks"),
}


def read_settings(path: Path) -> ProjectSettings:
    """Read [tool.backnorm] of a file.

    Parameters
    ----------
    path
        A pyproject.toml.

    Returns
    -------
    ProjectSettings
        Empty where the file has no such table.

    Raises
    ------
    SettingsError
        If the file cannot be read, or says something that is not known.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError.unreadable(str(path), error) from error
    tool = document.get("tool", {})
    if not isinstance(tool, dict):
        raise SettingsError.value("[tool]", "a table", tool)
    table = tool.get("backnorm", {})
    _check(table, WHERE, {**OPTIONS, "targets": LIST, "accepted": LIST})
    targets = [_target(one, f"{WHERE}, targets[{at}]") for at, one in _numbered(table, "targets")]
    accepted = [
        _accepted(one, f"{WHERE}, accepted[{at}]") for at, one in _numbered(table, "accepted")
    ]
    options = {name: table[name] for name in OPTIONS if name in table}
    return ProjectSettings(tuple(targets), options, tuple(accepted))


def _numbered(table: Mapping[str, Any], name: str) -> enumerate[Any]:
    return enumerate(table.get(name, []))


def _target(given: Any, where: str) -> ProjectTarget:
    if _is_text(given):
        return ProjectTarget(given)
    _check(given, where, OF_TARGET, ("target",))
    options = {name: value for name, value in given.items() if name != "target"}
    if "input" in options and not options.get("model"):
        raise SettingsError.missing(where, "model")
    return ProjectTarget(given["target"], options)


def _accepted(given: Any, where: str) -> Acceptance:
    _check(given, where, OF_ACCEPTED, ("finding", "reason", "until"))
    code = checked_code(given["finding"], f"{where}, finding")
    return Acceptance(code, given["reason"], given.get("target", "*"), given["until"])


def _check(
    table: Any,
    where: str,
    known: Mapping[str, tuple[Callable[[Any], bool], str]],
    needed: tuple[str, ...] = (),
) -> None:
    """Raise SettingsError unless a table has what it needs, and no more than is known."""
    if not isinstance(table, dict):
        raise SettingsError.value(where, "a table", table)
    for name, value in table.items():
        if name not in known:
            raise SettingsError.key(where, name, sorted(known))
        is_right, words = known[name]
        if not is_right(value):
            place = f"{where}, {name}"
            raise SettingsError.value(place, words, value)
    for name in needed:
        if name not in table:
            raise SettingsError.missing(where, name)
