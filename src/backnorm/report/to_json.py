"""Records as JSON, schema 1."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from backnorm import __version__
from backnorm.report.environment import environment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backnorm.audit.record import Record

__all__ = ["SCHEMA", "to_json"]

SCHEMA: Final = 1


def to_json(records: Iterable[Record]) -> str:
    """Write records as JSON.

    Parameters
    ----------
    records
        One for each target.

    Returns
    -------
    str
        A document of schema 1; numbers that could not be measured are null, never NaN.
    """
    document = {
        "schema": SCHEMA,
        "backnorm": __version__,
        "environment": environment(),
        "targets": [record.to_dict() for record in records],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"
