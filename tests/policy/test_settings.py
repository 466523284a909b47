"""[tool.backnorm] of a pyproject.toml."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from backnorm.errors import SettingsError
from backnorm.policy.acceptance import Acceptance
from backnorm.policy.settings import ProjectSettings, ProjectTarget, read_settings

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = """
[tool.backnorm]
targets = ["a.py:Norm", {target = "b.py:build", model = true, input = ["8,3"]}]
quick = true
limit = 30
mode = "train"
fail-on = "unsound"
ignore = ["N", "D03"]

[[tool.backnorm.accepted]]
finding = "g03"
target = "a.py:*"
reason = "constants by design"
until = 2030-12-31
"""


def read(tmp_path: Path, text: str) -> ProjectSettings:
    """Return the settings of a file."""
    file = tmp_path / "pyproject.toml"
    file.write_text(text, "utf-8")
    return read_settings(file)


def test_all_that_a_project_can_say(tmp_path: Path) -> None:
    """Targets with their options, options of the command line, and accepted findings."""
    assert read(tmp_path, WHOLE) == ProjectSettings(
        (
            ProjectTarget("a.py:Norm"),
            ProjectTarget("b.py:build", {"model": True, "input": ["8,3"]}),
        ),
        {
            "mode": "train",
            "limit": 30,
            "quick": True,
            "ignore": ["N", "D03"],
            "fail-on": "unsound",
        },
        (Acceptance("G03", "constants by design", "a.py:*", date(2030, 12, 31)),),
    )


@pytest.mark.parametrize("text", ["", "[tool]", "[tool.other]\nkey = 1", "[project]\nname = 'a'"])
def test_a_file_without_the_table_says_nothing(tmp_path: Path, text: str) -> None:
    """It is not an error."""
    assert read(tmp_path, text) == ProjectSettings()


WRONG = {
    "not TOML": ("[tool", "pyproject.toml cannot be read: "),
    "not a table": ("[tool]\nbacknorm = 1", "[tool.backnorm] must be a table, got 1"),
    "tool is not a table": ("tool = 1", "[tool] must be a table, got 1"),
    "an unknown key": ("[tool.backnorm]\ntarget = 'a'", "Did you mean targets?"),
    "a target that is not one": ("[tool.backnorm]\ntargets = [1]", "targets[0] must be a table"),
    "targets in a text": ("[tool.backnorm]\ntargets = 'a'", "targets must be a list, got 'a'"),
    "a target without a name": (
        "[tool.backnorm]\ntargets = [{kind = 'batch'}]",
        "targets[0] lacks the key target",
    ),
    "an unknown kind": (
        "[tool.backnorm]\ntargets = [{target = 'a', kind = 'bach'}]",
        "targets[0], kind must be one of 'batch', 'layer'",
    ),
    "an input without a model": (
        "[tool.backnorm]\ntargets = [{target = 'a', input = ['8,3']}]",
        "targets[0] lacks the key model",
    ),
    "a flag in a text": ("[tool.backnorm]\nquick = 'yes'", "quick must be true or false"),
    "a flag for a number": ("[tool.backnorm]\nlimit = true", "limit must be a number of seconds"),
    "an unknown status": ("[tool.backnorm]\nfail-on = 'all'", "fail-on must be 'unsound'"),
    "codes in a text": ("[tool.backnorm]\nignore = 'D03'", "ignore must be a list of texts"),
    "no reason": (
        "[[tool.backnorm.accepted]]\nfinding = 'D03'\nuntil = 2030-01-01",
        "accepted[0] lacks the key reason",
    ),
    "an empty reason": (
        "[[tool.backnorm.accepted]]\nfinding = 'D03'\nreason = ''\nuntil = 2030-01-01",
        "accepted[0], reason must be text, got ''",
    ),
    "no last day": (
        "[[tool.backnorm.accepted]]\nfinding = 'D03'\nreason = 'x'",
        "accepted[0] lacks the key until",
    ),
    "a day in a text": (
        "[[tool.backnorm.accepted]]\nfinding = 'D03'\nreason = 'x'\nuntil = '2030-01-01'",
        "until must be a date such as 2030-12-31, without quotation marks",
    ),
    "an unknown finding": (
        "[[tool.backnorm.accepted]]\nfinding = 'D99'\nreason = 'x'\nuntil = 2030-01-01",
        "accepted[0], finding must be the code of a finding",
    ),
    "a finding that decides nothing": (
        "[[tool.backnorm.accepted]]\nfinding = 'G27'\nreason = 'x'\nuntil = 2030-01-01",
        "G27 says that a target, or a part of it, was not audited",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, name: str) -> None:
    """Nothing is passed over: a misspelled key would be a check that does not run."""
    text, message = WRONG[name]
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """It is read only if it is there, or if it was named."""
    with pytest.raises(SettingsError, match=r"pyproject\.toml cannot be read: No such file"):
        read_settings(tmp_path / "pyproject.toml")
