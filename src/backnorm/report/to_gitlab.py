"""Records as a code quality report of GitLab."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from backnorm.report._failures import failures_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm.audit.record import Record

__all__ = ["to_gitlab"]

SEVERITIES: Final = {"error": "major", "note": "info", "ignored": "info"}


def to_gitlab(records: Sequence[Record]) -> str:
    """Write records as a code quality report.

    Parameters
    ----------
    records
        One for each target.

    Returns
    -------
    str
        A JSON array with an entry for each finding. The report has no place for what is ignored:
        such a finding has the severity info, and its description begins with the reason.

    Notes
    -----
    Source: GitLab's documentation, "Code Quality report format".
    """
    entries = [
        {
            "description": f"Ignored ({one.ignored}): {one.message}"
            if one.ignored
            else one.message,
            "check_name": one.code,
            "fingerprint": one.fingerprint,
            "severity": SEVERITIES[one.weight],
            "location": {
                "path": one.place.file or one.target,
                "lines": {"begin": max(one.place.line, 1)},
            },
        }
        for one in failures_of(records)
    ]
    return json.dumps(entries, indent=2) + "\n"
