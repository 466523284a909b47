"""Findings that do not count, and what no acceptance can change."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest

from backnorm.audit.findings import CATALOG, finding
from backnorm.audit.record import Record
from backnorm.errors import SettingsError
from backnorm.policy.acceptance import (
    UNDECIDED,
    Acceptance,
    accepted_in,
    checked_code,
    expired,
    selected,
)
from backnorm.policy.baseline import read_baseline, to_baseline

if TYPE_CHECKING:
    from pathlib import Path

DAY = date(2030, 6, 15)


def record(*codes: str, target: str = "a.py:Norm", sound: bool | None = True) -> Record:
    """Return a record with some findings."""
    findings = tuple(finding(code, "a number") for code in codes)
    return Record(target, "batch", sound=sound, findings=findings)


def ignored(one: Record, *acceptances: Acceptance) -> list[str]:
    """Return the codes that are ignored."""
    (marked,) = accepted_in([one], acceptances, DAY)
    assert [found.code for found in marked.findings] == [found.code for found in one.findings]
    return [found.code for found in marked.findings if found.ignored]


def test_an_acceptance_is_about_a_code_or_a_family() -> None:
    """And about nothing else that the target has."""
    one = record("D03", "D02", "I02")
    assert ignored(one, Acceptance("D03", "why")) == ["D03"]
    assert ignored(one, Acceptance("D", "why")) == ["D03", "D02"]
    assert ignored(one, Acceptance("I", "why"), Acceptance("D02", "why")) == ["D02", "I02"]
    assert ignored(one, Acceptance("", "why")) == []


@pytest.mark.parametrize(
    ("pattern", "target", "covered"),
    [
        ("a.py:Norm", "a.py:Norm", True),
        ("a.py:Norm", "a.py:Norm (eval)", True),
        ("m.py:build", "m.py:build layer1.0.bn", True),
        ("m.py:build layer1.*", "m.py:build layer1.0.bn", True),
        ("m.py:build layer1", "m.py:build layer10", False),
        ("a.py:Norm", "a.py:Norm2", False),
        ("a.py:*", "a.py:Norm2", True),
        ("a.py:?orm", "a.py:Norm", True),
        ("*", "torch.nn.BatchNorm2d", True),
        ("A.py:Norm", "a.py:Norm", False),
    ],
)
def test_a_target_is_named_by_a_pattern(pattern: str, target: str, *, covered: bool) -> None:
    """A name stands for the evaluation too."""
    codes = ignored(record("D03", target=target), Acceptance("D03", "why", pattern))
    assert bool(codes) is covered


def test_the_reason_stays_with_the_finding() -> None:
    """The first that covers it, with its last day."""
    until = Acceptance("D03", "upstream", until=date(2030, 7, 1))
    ((found,),) = [
        one.findings for one in accepted_in([record("D03")], [until, Acceptance("D", "later")], DAY)
    ]
    assert found.ignored == "upstream (until 2030-07-01)"
    assert replace(found, ignored="") == finding("D03", "a number")


def test_the_last_day_counts_and_the_next_does_not() -> None:
    """The day is an argument: no clock is read."""
    one = Acceptance("D03", "upstream", until=DAY)
    assert ignored(record("D03"), one) == ["D03"]
    (marked,) = accepted_in([record("D03")], [one], date(2030, 6, 16))
    assert not marked.findings[0].ignored
    assert not marked.clean
    assert expired([record("D03")], [one], DAY) == []
    (said,) = expired([record("D03")], [one], date(2030, 6, 16))
    assert said.startswith("D03 was accepted until 2030-06-15 (upstream). The finding is still")
    (said,) = expired([record("D02")], [one], date(2030, 6, 16))
    assert said.endswith("It was not found. Remove the entry.")


def test_a_wrong_gradient_can_be_accepted_whole() -> None:
    """It stays not sound, and is clean only if none of its findings counts."""
    (marked,) = accepted_in([record("G03", "D02", sound=False)], [Acceptance("G", "meant")], DAY)
    assert (marked.sound, marked.clean) == (False, False)
    (marked,) = accepted_in([marked], [Acceptance("D", "meant")], DAY)
    assert (marked.sound, marked.clean) == (False, True)
    assert not Record("a", "batch", sound=False).clean
    assert not record("N01", sound=False).clean


@pytest.mark.parametrize("code", sorted(CATALOG))
def test_no_acceptance_makes_a_verdict(code: str) -> None:
    """What was not judged or not audited is not clean, whatever is accepted or selected."""
    everything = [Acceptance(one, "why") for one in CATALOG]
    for one in (record(code, sound=None), replace(record(code, sound=None), audited=False)):
        (marked,) = accepted_in([one], everything, DAY)
        assert not marked.clean
        assert not selected([one], ["Z"])[0].clean
    if code in UNDECIDED:
        assert ignored(record(code), *everything) == []


def test_select_marks_all_others() -> None:
    """Notes and what is ignored already stay as they are."""
    (one,) = selected([record("D03", "I02", "N01")], ["D"])
    assert [found.ignored for found in one.findings] == ["", "not selected", ""]
    assert selected([record("D03")], []) == [record("D03")]


def test_codes_are_checked() -> None:
    """A code in small letters is one; an unknown one, or one that decides nothing, is refused."""
    assert [checked_code(text, "--ignore") for text in ("d03", " G01", "n")] == ["D03", "G01", "N"]
    for text in ("", "Q", "D0", "D033", "P01"):
        with pytest.raises(SettingsError, match="must be the code of a finding, or the letter"):
            checked_code(text, "--ignore")
    for text in ("C", "c01", "G20", "G27"):
        with pytest.raises(SettingsError, match="was not audited"):
            checked_code(text, "--ignore")


def test_a_baseline_covers_what_it_was_written_from_and_nothing_else(tmp_path: Path) -> None:
    """Neither another finding, nor the same of another target or of its evaluation."""
    file = tmp_path / "b.json"
    old = [record("D03", "N01", sound=True), record("G22", target="b.py:N", sound=None)]
    file.write_text(to_baseline(old))
    assert json.loads(file.read_text()) == {
        "backnorm-baseline": 1,
        "findings": [{"target": "a.py:Norm", "finding": "D03"}],
    }
    known = read_baseline(str(file))
    assert ignored(record("D03", "D02"), *known) == ["D03"]
    assert ignored(record("D03", target="a.py:Norm (eval)"), *known) == []
    (marked,) = accepted_in(old[:1], known, DAY)
    assert marked.findings[0].ignored == f"in the baseline {file}"
    assert json.loads(to_baseline([marked]))["findings"] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"backnorm-baseline": 2, "findings": []}',
        '{"backnorm-baseline": 1}',
        '{"backnorm-baseline": 1, "findings": [1]}',
        '{"backnorm-baseline": [], "findings": []}',
    ],
)
def test_what_is_not_a_baseline_is_refused(tmp_path: Path, text: str) -> None:
    """With the way to write one."""
    file = tmp_path / "b.json"
    with pytest.raises(SettingsError, match="as a baseline: No such file"):
        read_baseline(str(file))
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"b\.json cannot be read as a baseline: .*Write it"):
        read_baseline(str(file))
