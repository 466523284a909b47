"""JUnit XML, as a CI system reads it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from backnorm.report import to_junit
from report.records import CUT, HOSTILE, LOST, OPEN, SOUND, WARNED


def parsed(*records: object) -> ET.Element:
    """Return the suite of a document, read again from its bytes."""
    root = ET.fromstring(to_junit(records).encode())  # type: ignore[arg-type] # noqa: S314 - ours
    assert root.tag == "testsuites"
    (suite,) = root
    assert suite.attrib["tests"] == root.attrib["tests"] == str(len(records))
    return suite


def test_a_target_is_a_test_case() -> None:
    """Sound: passed. Unsound: a failure. Not audited: an error. The counts say so too."""
    suite = parsed(SOUND, CUT, LOST, WARNED)
    counts = {name: suite.attrib[name] for name in ("failures", "errors", "skipped", "time")}
    assert counts == {"failures": "1", "errors": "1", "skipped": "0", "time": "1.010"}
    cases = {case.attrib["name"]: case for case in suite.iter("testcase")}
    inside = {name: [child.tag for child in case] for name, case in cases.items()}
    assert inside == {
        "torch.nn.BatchNorm2d": ["system-out"],
        "mine.py:Cut": ["failure"],
        "mine.py:Lost": ["error"],
        "torch.nn.GroupNorm": ["system-out"],
    }
    assert cases["mine.py:Cut"].attrib["classname"] == "backnorm.audit.batch"


def test_what_was_not_judged_is_a_failure_with_its_reason() -> None:
    """It is not an error, since the audit ran."""
    failure = parsed(OPEN).find(".//failure")
    assert failure is not None
    assert failure.attrib["message"] == f"Not judged: {OPEN.not_judged}."


def test_a_failure_tells_all_findings() -> None:
    """Codes, what was found, and below the whole text."""
    failure = parsed(CUT).find(".//failure")
    assert failure is not None
    assert failure.attrib["type"] == "G01 G14"
    assert failure.attrib["message"].startswith("The gradient does not go through the mean")
    assert "remedy    Let the mean be" in (failure.text or "")


def test_no_words_of_a_target_break_the_document() -> None:
    """Markup is text again after reading; what XML forbids is written out."""
    case = parsed(HOSTILE).find("testcase")
    assert case is not None
    name = case.attrib["name"]
    assert name.startswith("<script>alert(1)</script> & \"quotes'")
    assert name.endswith(r"\r\x00\x1b[31m\x07\ud800\ufffe\u202e]]>")
