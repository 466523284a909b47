"""Markdown for the summary of a step, in full."""

from __future__ import annotations

from dataclasses import replace

from backnorm.report import to_markdown
from report.records import CUT, HOSTILE, LOST, OPEN, SOUND, WARNED


def test_the_summary_has_a_row_for_each_target_with_findings() -> None:
    """Below it each finding with its fix, and what is ignored with the reason."""
    found = replace(CUT.findings[0], ignored="by design")
    records = [SOUND, replace(CUT, findings=(found, CUT.findings[1])), LOST, OPEN, WARNED]
    lines = to_markdown(records).splitlines()
    assert lines[:10] == [
        "## Audit of normalization layers",
        "",
        (
            "4 layers audited: 2 sound, 1 not sound, 1 not judged. 1 finding is ignored. "
            "1 layer could not be audited. "
            "Not judged: y is not a linear function of x in each row (1)."
        ),
        "",
        "| target | sound | through | findings |",
        "|---|---|---|---|",
        "| mine.py:Cut | NO | variance | (G01) G14 |",
        "| mine.py:Lost | not audited |  | G22 |",
        "| mine.py:Open | not judged | unexplained |  |",
        "| torch.nn.GroupNorm | yes | both | N01 |",
    ]
    assert "1 layer without findings." in lines
    (ignored,) = [line for line in lines if "Ignored" in line]
    assert ignored.startswith("- **G01** mine.py:Cut: The gradient does not go through the mean")
    assert ignored.endswith("Ignored: by design.")


def test_no_words_of_a_target_are_markup() -> None:
    """Each that could be is escaped, so that a row stays a row."""
    text = to_markdown([HOSTILE])
    (row,) = [line for line in text.splitlines() if line.startswith("| \\<script")]
    assert row.replace("\\|", "").count("|") == 5
    assert "<" not in text.replace("\\<", "")
