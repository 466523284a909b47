"""Records as SARIF 2.1.0, which code scanning reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from backnorm import __version__
from backnorm.audit.findings import CATALOG, FAMILIES
from backnorm.audit.record import NOTE_FAMILIES
from backnorm.report._failures import FORWARD_ONLY, NOT_JUDGED, failures_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm.audit.findings.entry import Entry
    from backnorm.audit.record import Record
    from backnorm.report._failures import Failure

__all__ = ["to_sarif"]

LEVELS: Final = {"error": "error", "note": "note", "ignored": "note"}

HELP: Final = "The message has the reason. backnorm audit -v says what was measured."

OPEN: Final = {
    NOT_JUDGED: {
        "id": NOT_JUDGED,
        "shortDescription": {"text": "The gradient was not judged."},
        "help": {"text": HELP},
        "defaultConfiguration": {"level": "error"},
    },
    FORWARD_ONLY: {
        "id": FORWARD_ONLY,
        "shortDescription": {"text": "There is no gradient: only the forward pass was judged."},
        "help": {"text": HELP},
        "defaultConfiguration": {"level": "note"},
    },
}
"""The rules of what is not a finding."""


def to_sarif(records: Sequence[Record]) -> str:
    """Write records as a log with one run.

    Parameters
    ----------
    records
        One for each target.

    Returns
    -------
    str
        JSON. A rule is a code of `backnorm explain`, or ``not-judged``, or ``forward-only``, which
        is a note; a result is a finding of a target, in the line that defines the target. A finding
        that is ignored is a suppressed result. `executionSuccessful` is false where something was
        not audited.

    Notes
    -----
    Source: Static Analysis Results Interchange Format (SARIF) Version 2.1.0, OASIS Standard. Code
    scanning refuses a result without a file, so that a target whose file is not known has its own
    name in the place of a file.
    """
    failures = [*failures_of(records)]
    codes = sorted({failure.code for failure in failures})
    driver = {
        "name": "backnorm",
        "semanticVersion": __version__,
        "rules": [_rule(code) for code in codes],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [
            {"executionSuccessful": all(one.audited and one.complete for one in records)}
        ],
        "columnKind": "unicodeCodePoints",
        "results": [_result(failure, codes.index(failure.code)) for failure in failures],
    }
    document = {"version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _rule(code: str) -> Mapping[str, Any]:
    if code in OPEN:
        return OPEN[code]
    entry = CATALOG[code]
    title = next(family.title for family in FAMILIES if code in family.entries)
    return {
        "id": code,
        "shortDescription": {"text": entry.what},
        "fullDescription": {"text": f"{title}. {entry.what}"},
        "help": {"text": _help(entry, "{}"), "markdown": _help(entry, "**{}**")},
        "defaultConfiguration": {"level": "note" if code[0] in NOTE_FAMILIES else "error"},
    }


def _help(entry: Entry, heading: str) -> str:
    """Write what a right layer gives, likely causes, and what to do."""
    causes = [f"{chr(ord('a') + at)}. {cause}" for at, cause in enumerate(entry.causes)]
    parts = {"Expected": entry.expected, "Likely causes": "\n".join(causes), "Fix": entry.remedy}
    return "\n\n".join(f"{heading.format(name)}\n\n{part}" for name, part in parts.items() if part)


def _result(failure: Failure, index: int) -> dict[str, Any]:
    uri = quote(failure.place.file or failure.target)
    physical: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    physical["region"] = {"startLine": max(failure.place.line, 1)}
    result: dict[str, Any] = {
        "ruleId": failure.code,
        "ruleIndex": index,
        "level": LEVELS[failure.weight],
        "message": {"text": failure.message},
        "locations": [
            {
                "physicalLocation": physical,
                "logicalLocations": [{"fullyQualifiedName": failure.target}],
            }
        ],
        "partialFingerprints": {"backnorm/v1": failure.fingerprint},
    }
    if failure.ignored:
        suppression = {"kind": "external", "status": "accepted", "justification": failure.ignored}
        result["suppressions"] = [suppression]
    return result
