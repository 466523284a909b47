"""From records, of audits and conversions, to text and JSON."""

from __future__ import annotations

from backnorm.report.environment import environment
from backnorm.report.to_json import SCHEMA, to_json
from backnorm.report.to_table import to_table
from backnorm.report.to_text import to_text

__all__ = ["SCHEMA", "environment", "to_json", "to_table", "to_text"]
