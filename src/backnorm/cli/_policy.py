"""Which findings of an audit count, and the exit status that follows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import click

from backnorm.cli._documents import writable
from backnorm.cli._output import say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from backnorm.audit.record import Record
    from backnorm.policy.acceptance import Acceptance

__all__ = ["Policy", "policy_options"]

FAIL_ON: Final = ("unsound", "finding", "never")


@dataclass(frozen=True, slots=True)
class Policy:
    """What the options say about findings.

    Attributes
    ----------
    ignored
        Findings that do not count: those of --ignore and of --baseline.
    selected
        Codes and families of --select; empty for all.
    baseline
        The file of --write-baseline.
    fail_on
        What makes the exit status 1.
    """

    ignored: tuple[Acceptance, ...]
    selected: tuple[str, ...]
    baseline: str | None
    fail_on: str

    def applied(
        self, records: Sequence[Record], accepted: Sequence[Acceptance], today: date
    ) -> list[Record]:
        """Mark what does not count, and say on stderr what has expired."""
        from backnorm.policy.acceptance import accepted_in, expired, selected

        for sentence in expired(records, accepted, today):
            say(sentence)
        return selected(accepted_in(records, (*accepted, *self.ignored), today), self.selected)

    def status(self, records: Sequence[Record], targets: Sequence[str]) -> int:
        """Return the exit status.

        Parameters
        ----------
        records
            One for each subject.
        targets
            What was named; not models, whose layers have names of their own.
        """
        if not all(record.audited and record.complete for record in records):
            return 2
        open_ones = [record for record in records if record.open]
        if self.fail_on == "never" and open_ones:  # there is no 1 that could say so
            return 2
        if any(_is_named(record, targets) for record in open_ones):
            return 2
        fails: dict[str, Callable[[Record], bool]] = {
            "unsound": lambda record: (
                record.sound is not True and not record.clean and not record.forward_only
            ),
            "finding": lambda record: not record.clean,
            "never": lambda _: False,
        }
        return 1 if any(map(fails[self.fail_on], records)) else 0


def policy_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options about findings, which it gets as a `policy`."""

    @click.option(
        "--ignore",
        multiple=True,
        metavar="CODES",
        callback=_codes,
        help="Findings that do not count, such as D03 or D03,I02, or whole families, such as D.",
    )
    @click.option(
        "--select", multiple=True, metavar="CODES", callback=_codes, help="Only these count."
    )
    @click.option(
        "--baseline",
        metavar="FILE",
        help="The findings in this file do not count.",
    )
    @click.option("--write-baseline", metavar="FILE", callback=writable, help="Write such a file.")
    @click.option(
        "--fail-on",
        type=click.Choice(FAIL_ON),
        default="finding",
        show_default=True,
        help="When the exit status is 1. It is 2 in any case for what was not audited.",
    )
    @wraps(command)
    def _with_policy(*arguments: Any, **options: Any) -> None:
        from backnorm.policy.acceptance import Acceptance

        ignored = [Acceptance(code, "--ignore") for code in options.pop("ignore")]
        known, written = options.pop("baseline"), options.pop("write_baseline")
        if written is None:  # else a new baseline would lose what an old one has
            ignored += _baseline(known)
        policy = Policy(tuple(ignored), options.pop("select"), written, options.pop("fail_on"))
        command(*arguments, policy=policy, **options)

    return _with_policy


def _codes(_: click.Context, parameter: click.Parameter, texts: Sequence[str]) -> tuple[str, ...]:
    """Return codes and letters of families; raise BadParameter if there is no such finding."""
    from backnorm.errors import SettingsError
    from backnorm.policy.acceptance import checked_code

    where = parameter.opts[0]
    try:
        return tuple(checked_code(one, where) for text in texts for one in text.split(","))
    except SettingsError as error:
        raise click.UsageError(str(error)) from error


def _baseline(name: str | None) -> tuple[Acceptance, ...]:
    """Return what a baseline has; raise UsageError if it cannot be read."""
    from backnorm.errors import SettingsError
    from backnorm.policy.baseline import read_baseline

    try:
        return () if name is None else read_baseline(name)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error


def _is_whole(target: str) -> bool:
    """Whether a target is a model file, of which no normalization is named."""
    from backnorm.host.model_file import file_in

    file = file_in(target)
    return file is not None and not file.node


def _is_named(record: Record, targets: Sequence[str]) -> bool:
    """Whether a record is about a target that was named: not a layer of a model or of a list."""
    from backnorm.cli._targets import TARGETS

    names = [target for target in targets if target not in TARGETS and not _is_whole(target)]
    if len(names) == len(targets):  # an object may give its parts names that are not the target's
        return bool(names)
    return any(record.target == one or record.target.startswith(f"{one} (") for one in names)
