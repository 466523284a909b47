"""Records as JSON, schema 1."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from backnorm import __version__
from backnorm.report.environment import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from backnorm.audit.record import Record

__all__ = ["SCHEMA", "to_json"]

SCHEMA: Final = 1


def to_json(records: Iterable[Record], elsewhere: Mapping[str, str] | None = None) -> str:
    """Write records as JSON.

    Parameters
    ----------
    records
        One for each target.
    elsewhere
        Versions in the interpreter that ran the targets, where it was another one.

    Returns
    -------
    str
        A document of schema 1; numbers that could not be measured are null, never NaN.
    """
    document = {
        "schema": SCHEMA,
        "backnorm": __version__,
        "environment": {**environment(), **(elsewhere or {})},
        "targets": [record.to_dict() for record in records],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"
