"""Write docs/findings.md, and the tables of docs/audit-method.md, from the audit's own tables.

    .venv/bin/python docs/findings_page.py

Run in the project's folder, after a change of a finding, a probe or a threshold. What stands in
docs/audit-method.md in front of the mark is written by hand and kept.
"""

# ruff: noqa: INP001 - a script beside the pages that it writes, no package
from __future__ import annotations

from pathlib import Path

from backnorm.report.findings import to_findings, to_method_tables

DOCS = Path(__file__).parent
MARK = "<!-- from here written by docs/findings_page.py -->\n"


def main() -> None:
    """Write both."""
    (DOCS / "findings.md").write_text(to_findings(), encoding="utf-8")
    method = DOCS / "audit-method.md"
    by_hand = method.read_text(encoding="utf-8").partition(MARK)[0]
    method.write_text(by_hand + MARK + to_method_tables(), encoding="utf-8")


if __name__ == "__main__":
    main()
