"""Baselines: the findings of one audit, which do not count in later ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backnorm.errors import SettingsError
from backnorm.policy.acceptance import UNDECIDED, Acceptance

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backnorm.audit.record import Record

__all__ = ["read_baseline", "to_baseline"]

SCHEMA: Final = 1


def to_baseline(records: Iterable[Record]) -> str:
    """Write the findings that count.

    Parameters
    ----------
    records
        One for each target.

    Returns
    -------
    str
        JSON: of each finding its target and its code, sorted and without numbers, so that the file
        changes only where a finding comes or goes. What was not audited is not a finding here.
    """
    found = sorted(
        {
            (record.target, finding.code)
            for record in records
            for finding in record.findings
            if finding.counts and finding.code not in UNDECIDED
        }
    )
    findings = [{"target": target, "finding": code} for target, code in found]
    return json.dumps({"backnorm-baseline": SCHEMA, "findings": findings}, indent=2) + "\n"


def read_baseline(name: str) -> tuple[Acceptance, ...]:
    """Read what `to_baseline` wrote.

    Parameters
    ----------
    name
        The file.

    Returns
    -------
    tuple of Acceptance
        One for each finding.

    Raises
    ------
    SettingsError
        If the file is not there, or is not a baseline.
    """
    try:
        document = json.loads(Path(name).read_text("utf-8"))
        found = {SCHEMA: document["findings"]}[document["backnorm-baseline"]]
        named = [(str(one["finding"]), str(one["target"])) for one in found]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError.baseline(name, error) from error
    reason = f"in the baseline {name}"
    return tuple(Acceptance(code, reason, target, exact=True) for code, target in named)
