"""Every finding: its code, what it says, what usually causes it, and what to do.

The letter of a code is its family; each family has a file here, and `families` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.families import FAMILIES
from backnorm.audit.findings.faulty import FAULTY
from backnorm.audit.record import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.audit.findings.entry import Entry
    from backnorm.errors import SubjectError

__all__ = ["CATALOG", "FAMILIES", "FAULTS", "fault", "finding"]

CATALOG: Final[Mapping[str, Entry]] = {
    code: entry for family in FAMILIES for code, entry in family.entries.items()
}
"""All findings. In a report, findings of faults have the words of the error that was raised."""

FAULTS: Final = frozenset(FAULTY)
"""Codes which say that a subject could not be audited."""


def finding(code: str, got: str) -> Finding:
    """Return the finding of a code."""
    entry = CATALOG[code]
    return Finding(code, entry.what, entry.expected, got, entry.causes, entry.remedy)


def fault(error: SubjectError) -> Finding:
    """Return the finding which says that a subject could not be audited."""
    what = f"{error.problem} {error.why}".strip()
    causes = error.causes or CATALOG[error.code].causes
    return Finding(error.code, what, error.requirement, error.got, causes, error.advice)
