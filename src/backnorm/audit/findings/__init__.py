"""Every finding: its code, what it says, what usually causes it, and what to do.

The letter of a code is its family; each family has a file here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.faulty import FAULTY
from backnorm.audit.findings.gradient import GRADIENT
from backnorm.audit.findings.inputs import INPUTS
from backnorm.audit.findings.orders import ORDERS
from backnorm.audit.findings.place import PLACE
from backnorm.audit.findings.precision import PRECISION
from backnorm.audit.findings.repeated import REPEATED
from backnorm.audit.findings.state import STATE
from backnorm.audit.record import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.audit.findings.entry import Entry
    from backnorm.errors import SubjectError

__all__ = ["CATALOG", "FAULTS", "fault", "finding"]

CATALOG: Final[Mapping[str, Entry]] = {
    **ORDERS,
    **GRADIENT,
    **FAULTY,
    **INPUTS,
    **PLACE,
    **PRECISION,
    **REPEATED,
    **STATE,
}
"""All findings. Those of faults get their words from the error that was raised."""

FAULTS: Final = frozenset(FAULTY)
"""Codes which say that a subject could not be audited."""


def finding(code: str, got: str) -> Finding:
    """Make a finding of the catalog."""
    entry = CATALOG[code]
    return Finding(code, entry.what, entry.expected, got, entry.causes, entry.remedy)


def fault(error: SubjectError) -> Finding:
    """Make the finding which says that a subject could not be audited."""
    what = f"It could not be audited: {error.name} must {error.requirement}. {error.why}"
    causes = CATALOG[error.code].causes
    return Finding(error.code, what, error.requirement, error.got, causes, error.advice)
