"""Annotations, read as GitHub's runner reads them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from backnorm.report import to_github
from report.records import CUT, HOSTILE, LOST, OPEN, SOUND, WARNED

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

COMMAND = re.compile(r"::(?P<name>[a-z-]+)(?: (?P<properties>.*?))?::(?P<message>.*)")


def unescaped(text: str) -> str:
    """Undo the escapes, % last, as the runner does."""
    for code, letter in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, letter)
    return text


def commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Return name, properties and message of each command in a log."""
    found = []
    for line in text.splitlines():
        match = COMMAND.match(line.lstrip())
        if match:
            pairs = (pair.split("=", 1) for pair in (match["properties"] or "").split(","))
            properties = {key: unescaped(value) for key, value in pairs}
            found.append((match["name"], properties, unescaped(match["message"])))
    return found


def test_each_target_with_findings_has_one_annotation() -> None:
    """An error where it fails or could not be audited, a warning where findings do not count."""
    text = to_github([SOUND, CUT, LOST, WARNED])
    titles = [(name, properties["title"]) for name, properties, _ in commands(text)]
    assert titles == [
        ("error", "G01 G14 mine.py:Cut"),
        ("error", "G22 mine.py:Lost"),
        ("warning", "N01 torch.nn.GroupNorm"),
    ]
    assert (
        text.splitlines()[-1]
        == "3 layers audited: 2 sound, 1 not sound. 1 layer could not be audited."
    )


def test_what_was_not_judged_is_an_error_with_its_reason() -> None:
    """The step fails, so the annotation says why."""
    ((name, _, message),) = commands(to_github([OPEN]))
    assert (name, message.splitlines()[0]) == ("error", f"Not judged: {OPEN.not_judged}")


def test_the_message_is_a_line_for_each_finding() -> None:
    """What was found and what to do; notes stand aside where there is a fault, codes too."""
    found = replace(CUT, findings=(*CUT.findings, *WARNED.findings))
    ((_, properties, message),) = commands(to_github([found]))
    assert properties["title"] == "G01 G14 mine.py:Cut"
    assert message.splitlines() == [f"{f.code}: {f.what} {f.remedy}" for f in CUT.findings]
    ((name, properties, message),) = commands(to_github([WARNED]))
    assert (name, properties["title"]) == ("warning", "N01 torch.nn.GroupNorm")
    assert message.startswith("N01: ")


def test_file_and_line_are_those_of_the_definition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative to where the step runs; without a line where the name or the file is not found."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a, b.py").write_text("import os\n\n\nclass Cut:\n    pass\n")
    (tmp_path / "broken.py").write_text("class Cut(\n")

    def place(target: str) -> dict[str, str]:
        ((_, properties, _),) = commands(to_github([replace(CUT, target=target)]))
        return {key: value for key, value in properties.items() if key != "title"}

    assert place("a, b.py:Cut (eval)") == {"file": "a, b.py", "line": "4"}
    assert place(f"{tmp_path}/a, b.py:Cut") == {"file": "a, b.py", "line": "4"}
    assert place("a, b.py:os") == {"file": "a, b.py"}
    assert place("broken.py:Cut") == {"file": "broken.py"}
    assert place("none.py:Cut") == {"file": "none.py"}
    assert place("torch.nn.BatchNorm2d") == {}


def test_no_words_of_a_target_become_a_command() -> None:
    """One command, one line, and the words come out as they went in, or written out."""
    (found,) = HOSTILE.findings
    text = to_github([replace(HOSTILE, findings=(replace(found, what=HOSTILE.law),))])
    assert [name for name, _, _ in commands(text)] == ["error"]
    assert len(text.splitlines()) == 2
    ((_, properties, message),) = commands(text)
    assert set(properties) == {"title"}
    assert properties["title"].startswith("G05 <script>alert(1)</script> & \"quotes' </table> ::st")
    assert "100% a:b,c ::error::second line" in message
