"""Write every page of docs/ that is made from the package's own tables: `make pages`.

What stands before the mark in docs/audit-method.md is written by hand and kept.
"""

from __future__ import annotations

from pathlib import Path

from backnorm.report.dialects import to_page
from backnorm.report.findings import to_findings, to_method_tables

DOCS = Path(__file__).parents[1] / "docs"
MARK = "<!-- from here written by tools/pages.py -->\n"


def pages() -> dict[Path, str]:
    """Return each generated page and what it must say."""
    method = DOCS / "audit-method.md"
    by_hand = method.read_text(encoding="utf-8").partition(MARK)[0]
    return {
        DOCS / "dialects.md": to_page(),
        DOCS / "findings.md": to_findings(),
        method: by_hand + MARK + to_method_tables(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
