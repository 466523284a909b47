"""Findings that somebody has accepted: they stay in the record, with the reason, and do not count.

What was not audited or not judged stays so: no acceptance makes a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from backnorm.audit.findings import CATALOG, FAULTS
from backnorm.audit.findings.cut_short import CUT_SHORT
from backnorm.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from backnorm.audit.record import Finding, Record

__all__ = ["Acceptance", "accepted_in", "checked_code", "expired", "selected"]

UNDECIDED: Final = FAULTS | frozenset(CUT_SHORT)
"""Codes of what was not audited, or not to its end. They say nothing that can be accepted."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A finding that does not count for some targets.

    Attributes
    ----------
    code
        The code of the finding, or the letter of its family.
    reason
        Why it is accepted.
    target
        The target's name, in which ``*``, ``?`` and ``[...]`` stand for other letters. A name
        stands for the evaluation of the target too, and that of a model for its layers.
    until
        The last day on which it holds; None without an end.
    exact
        Whether the name is meant letter by letter, and not for what belongs to it.
    """

    code: str
    reason: str
    target: str = "*"
    until: date | None = None
    exact: bool = False

    def covers(self, target: str, found: Finding) -> bool:
        """Whether it is about a finding of a target, on whatever day."""
        if self.code not in (found.code, found.code[0]) or found.code in UNDECIDED:
            return False
        if self.exact:
            return target == self.target
        return fnmatchcase(target, self.target) or fnmatchcase(target, f"{self.target} *")

    def holds(self, today: date) -> bool:
        """Whether its last day is not over."""
        return self.until is None or today <= self.until


def checked_code(code: str, where: str) -> str:
    """Return a code or the letter of a family.

    Parameters
    ----------
    code
        As the user wrote it.
    where
        The option or the key, for the message.

    Raises
    ------
    SettingsError
        If no finding has it, or if what it says cannot be accepted.
    """
    written = code.strip().upper()
    if written in (*UNDECIDED, "C"):
        raise SettingsError.undecided(where, written)
    if written not in CATALOG and not any(written == known[0] for known in CATALOG):
        raise SettingsError.code(where, code, sorted(CATALOG))
    return written


def accepted_in(
    records: Iterable[Record], acceptances: Sequence[Acceptance], today: date
) -> list[Record]:
    """Mark the findings that are accepted.

    Parameters
    ----------
    records
        One for each target.
    acceptances
        The first that covers a finding gives the reason.
    today
        The day: what has expired does not hold.

    Returns
    -------
    list of Record
        The same records; of accepted findings `ignored` is the reason.
    """
    holding = [one for one in acceptances if one.holds(today)]

    def marked(target: str, found: Finding) -> Finding:
        reasons = (_words(one) for one in holding if one.covers(target, found))
        reason = "" if found.ignored else next(reasons, "")
        return replace(found, ignored=reason) if reason else found

    return [
        replace(record, findings=tuple(marked(record.target, f) for f in record.findings))
        for record in records
    ]


def selected(records: Iterable[Record], codes: Sequence[str]) -> list[Record]:
    """Mark the findings that are not among some codes or families; without codes none."""

    def marked(found: Finding) -> Finding:
        outside = bool(codes) and not {found.code, found.code[0]}.intersection(codes)
        if not outside or found.ignored or found.code in UNDECIDED or not found.counts:
            return found
        return replace(found, ignored="not selected")

    return [replace(record, findings=tuple(map(marked, record.findings))) for record in records]


def expired(records: Sequence[Record], acceptances: Iterable[Acceptance], today: date) -> list[str]:
    """Return a sentence for each acceptance whose last day is over."""
    return [
        str(SettingsError.expired(one.code, one.target, str(one.until), one.reason, found=found))
        for one in acceptances
        if not one.holds(today)
        for found in [any(one.covers(r.target, f) for r in records for f in r.findings)]
    ]


def _words(one: Acceptance) -> str:
    return f"{one.reason} (until {one.until})" if one.until else one.reason
