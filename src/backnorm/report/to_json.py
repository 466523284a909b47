"""Records as JSON, schema 2."""

from __future__ import annotations

import importlib.resources
import json
from typing import TYPE_CHECKING, Any, Final

from backnorm import __version__
from backnorm.report.environment import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from backnorm.audit.record import Record

__all__ = ["SCHEMA", "json_schema", "to_json"]

SCHEMA: Final = 2


def to_json(records: Iterable[Record], elsewhere: Mapping[str, str] | None = None) -> str:
    """Write records as JSON.

    Parameters
    ----------
    records
        One for each target.
    elsewhere
        Versions in the interpreter that ran the targets, where `--python` named another.

    Returns
    -------
    str
        A document of schema 2; a number that could not be measured is null, never NaN.
    """
    document = {
        "schema": SCHEMA,
        "backnorm": __version__,
        "environment": {**environment(), **(elsewhere or {})},
        "targets": [record.to_dict() for record in records],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of what `to_json` writes.

    Returns
    -------
    dict
        The schema. Names that it does not list are allowed, since later versions add names.

    Examples
    --------
    >>> json_schema()["properties"]["schema"]
    {'const': 2}
    """
    files = importlib.resources.files("backnorm.report")
    schema: dict[str, Any] = json.loads((files / "audit-2.schema.json").read_text("utf-8"))
    return schema
