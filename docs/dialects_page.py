"""Write docs/dialects.md from the rows. Run in the project's folder, after a change of a row.

.venv/bin/python docs/dialects_page.py
"""

# ruff: noqa: INP001 - a script beside the page that it writes, no package
from __future__ import annotations

from pathlib import Path

from backnorm.report.dialects import to_page

if __name__ == "__main__":
    Path(__file__).with_name("dialects.md").write_text(to_page(), encoding="utf-8")
