"""The page of findings in Chinese: the catalog of the audit with the words of a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from backnorm.audit.findings import FAMILIES
from backnorm.audit.findings.entry import Entry
from backnorm.audit.findings.families import Family
from backnorm.report.findings import Words, to_findings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["findings"]

MISSING: Final = "{} has no Chinese words for {}. Add them."


def findings(path: Path) -> str:
    """Write the page, whose words docs/zh/findings.json has for each family and each code."""
    told = json.loads(path.read_text(encoding="utf-8"))
    families = [translated(family, told, path) for family in FAMILIES]
    words = told["words"]
    return to_findings(families, Words(**{**words, "head": tuple(words["head"])}))


def translated(family: Family, told: Mapping[str, Any], path: Path) -> Family:
    """Return a family with the words of the file."""
    missing = {family.title} - told["families"].keys() | family.entries.keys() - told["findings"]
    if missing:
        raise SystemExit(MISSING.format(path.name, ", ".join(sorted(missing))))
    entries = {code: entry(told["findings"][code]) for code in family.entries}
    return Family(**told["families"][family.title], entries=entries)


def entry(words: Mapping[str, Any]) -> Entry:
    """Return a line of the catalog in Chinese."""
    return Entry(words["what"], words["expected"], tuple(words["causes"]), words["remedy"])
