"""SARIF, as code scanning reads it; test_schemas.py holds it against its schema."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from backnorm.audit.findings import CATALOG
from backnorm.report import to_gitlab, to_sarif
from report.records import CUT, HOSTILE, LOST, OPEN, SOUND, WARNED

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from backnorm.audit.record import Record


def run_of(*records: Record) -> dict[str, Any]:
    """Return the only run of a log."""
    (run,) = json.loads(to_sarif(records))["runs"]
    return dict(run)


def test_a_rule_is_a_code_with_its_help() -> None:
    """Each code once, however many targets have it; a result names its rule twice."""
    run = run_of(CUT, replace(CUT, target="another.py:Cut"), WARNED)
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["G01", "G14", "N01"]
    assert rules[0]["shortDescription"]["text"] == CATALOG["G01"].what
    assert CATALOG["G01"].remedy in rules[0]["help"]["text"]
    assert f"**Fix**\n\n{CATALOG['G01'].remedy}" in rules[0]["help"]["markdown"]
    assert [rule["defaultConfiguration"]["level"] for rule in rules] == ["error", "error", "note"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]


def test_a_result_is_a_finding_of_a_target() -> None:
    """Errors, and notes for what does not count; the message is one line with the target."""
    run = run_of(SOUND, CUT, WARNED)
    got = [(result["ruleId"], result["level"]) for result in run["results"]]
    assert got == [("G01", "error"), ("G14", "error"), ("N01", "note")]
    text = run["results"][0]["message"]["text"]
    found = CUT.findings[0]
    assert text == f"mine.py:Cut: {found.what} {found.remedy}"


def test_a_result_is_in_the_line_of_the_definition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a file, in a module of the folder or of src; else the target stands for the file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src" / "pkg").mkdir(parents=True)
    (tmp_path / "a b.py").write_text("import os\n\nclass Cut:\n    pass\n")
    (tmp_path / "src" / "pkg" / "__init__.py").write_text("def cut():\n    pass\n")

    def place(target: str) -> tuple[str, int, str]:
        (one, _) = run_of(replace(CUT, target=target))["results"]
        (location,) = one["locations"]
        physical = location["physicalLocation"]
        (logical,) = location["logicalLocations"]
        line = physical["region"]["startLine"]
        return physical["artifactLocation"]["uri"], line, logical["fullyQualifiedName"]

    assert place("a b.py:Cut (eval)") == ("a%20b.py", 3, "a b.py:Cut (eval)")
    assert place("pkg:cut") == ("src/pkg/__init__.py", 1, "pkg:cut")
    assert place("pkg.cut") == ("src/pkg/__init__.py", 1, "pkg.cut")
    assert place("torch.nn.BatchNorm2d") == ("torch.nn.BatchNorm2d", 1, "torch.nn.BatchNorm2d")
    (entry, _) = json.loads(to_gitlab([replace(CUT, target="pkg.cut")]))
    assert entry["location"] == {"path": "src/pkg/__init__.py", "lines": {"begin": 1}}


def test_fingerprints_stay_when_numbers_change() -> None:
    """They follow from the target and the code alone, in both formats."""

    def prints(record: Record) -> list[str]:
        results = run_of(record)["results"]
        return [result["partialFingerprints"]["backnorm/v1"] for result in results]

    others = replace(CUT, findings=tuple(replace(f, got="else", what="else") for f in CUT.findings))
    assert prints(CUT) == prints(others)
    assert len({*prints(CUT), *prints(replace(CUT, target="b.py:Cut"))}) == 4
    assert [one["fingerprint"] for one in json.loads(to_gitlab([CUT]))] == prints(CUT)
    twice = replace(CUT, findings=CUT.findings[:1] * 2)
    assert prints(twice)[0] == prints(CUT)[0] != prints(twice)[1]


def test_what_is_ignored_is_suppressed_with_its_reason() -> None:
    """It stays in the log, as a note; GitLab has no such place, and shows it as info."""
    found = replace(CUT.findings[0], ignored="by design")
    record = replace(CUT, findings=(found, CUT.findings[1]))
    first, second = run_of(record)["results"]
    assert first["level"] == "note"
    suppression = {"kind": "external", "status": "accepted", "justification": "by design"}
    assert first["suppressions"] == [suppression]
    assert "suppressions" not in second
    first, second = json.loads(to_gitlab([record]))
    assert (first["severity"], second["severity"]) == ("info", "major")
    assert first["description"].startswith("Ignored (by design): mine.py:Cut: The gradient")


def test_what_was_not_judged_or_not_audited_is_an_error() -> None:
    """Not judged has a rule of its own; where something was not audited the run did not succeed."""
    run = run_of(OPEN)
    (result,) = run["results"]
    assert (result["ruleId"], result["level"]) == ("not-judged", "error")
    assert result["message"]["text"] == f"mine.py:Open: Not judged: {OPEN.not_judged}."
    assert run["invocations"] == [{"executionSuccessful": True}]
    run = run_of(LOST)
    assert [result["ruleId"] for result in run["results"]] == ["G22"]
    assert run["invocations"] == [{"executionSuccessful": False}]


def test_no_words_of_a_target_reach_a_log_as_control_characters() -> None:
    """They are written out, on one line."""
    (result,) = run_of(HOSTILE)["results"]
    assert "\n" not in result["message"]["text"]
    assert "\x1b" not in result["message"]["text"]
    assert "\ud800" not in to_sarif([HOSTILE]) + to_gitlab([HOSTILE])
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri.startswith("%3Cscript%3E")
