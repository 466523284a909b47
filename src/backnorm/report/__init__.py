"""From records, of audits and conversions, to text, JSON, pages, and what CI systems read."""

from __future__ import annotations

from backnorm.report.environment import environment
from backnorm.report.to_github import to_github
from backnorm.report.to_gitlab import to_gitlab
from backnorm.report.to_html import to_html
from backnorm.report.to_json import SCHEMA, json_schema, to_json
from backnorm.report.to_junit import to_junit
from backnorm.report.to_markdown import to_markdown
from backnorm.report.to_sarif import to_sarif
from backnorm.report.to_table import to_table
from backnorm.report.to_text import to_text

__all__ = [
    "SCHEMA",
    "environment",
    "json_schema",
    "to_github",
    "to_gitlab",
    "to_html",
    "to_json",
    "to_junit",
    "to_markdown",
    "to_sarif",
    "to_table",
    "to_text",
]
