"""A finding that is ignored, in every report: it is there, with the reason, and is no failure."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

from backnorm.report import to_github, to_html, to_junit, to_text
from report.records import CUT, WARNED

REASON = "constants by design <until 2030-12-31>"
PART = replace(CUT, findings=(replace(CUT.findings[0], ignored=REASON), CUT.findings[1]))
WHOLE = replace(CUT, findings=tuple(replace(f, ignored=REASON) for f in CUT.findings))


def test_the_table_has_its_code_in_parentheses() -> None:
    """And the reason once below; the verdict stays, and the summary counts."""
    lines = to_text([WHOLE, PART], width=120).splitlines()
    assert lines[2].endswith("NO     (G01) (G14)")
    assert lines[3].endswith("NO     (G01) G14")
    assert [line for line in lines if "ignored: " in line] == [f"(G01), (G14) ignored: {REASON}"]
    assert lines[-1] == "2 layers audited: 0 sound, 2 not sound. 3 findings are ignored."
    assert f"       ignored   {REASON}" in to_text([PART], verbose=True).splitlines()
    assert len(to_text([WHOLE, PART], only="failures").split("mine.py:Cut")) == 2


def test_a_finding_that_counts_is_not_in_parentheses() -> None:
    """Where nothing is ignored, nothing is said of it."""
    assert "ignored" not in to_text([CUT, WARNED], verbose=True)
    assert "(G01)" not in to_text([CUT])


def test_junit_passes_what_has_no_other_finding() -> None:
    """With the reason in its output."""
    suite = ET.fromstring(to_junit([WHOLE, PART]))[0]  # noqa: S314 - our own
    assert suite.attrib["failures"] == "1"
    output = suite.find("testcase/system-out")
    assert output is not None
    assert f"ignored   {REASON}" in (output.text or "")


def test_an_annotation_is_a_notice_or_leaves_it_out() -> None:
    """Where other findings make the target fail, only they are told."""
    whole, part, _ = to_github([WHOLE, PART]).splitlines()
    assert whole.startswith("::notice ")
    assert f"G01 is ignored ({REASON}): The gradient does not go" in whole
    assert part.startswith("::error ")
    assert "title=G14 mine.py" in part
    assert "ignored" not in part


def test_the_page_shows_it_aside() -> None:
    """Its code in parentheses in the table, and the reason first among its parts."""
    page = to_html([PART])
    assert ">(G01)</a>" in page
    assert ">G14</a>" in page
    assert "<dt>ignored</dt><dd>constants by design &lt;until 2030-12-31&gt;</dd>" in page
    assert page.count('class="finding aside"') == 1
