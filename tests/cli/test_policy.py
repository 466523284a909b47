"""backnorm audit: what counts, the exit status, and [tool.backnorm]."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from backnorm.audit.findings import finding
from backnorm.audit.record import Record
from backnorm.cli import main

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.testing import Result

    from backnorm.cli._jobs import AuditJob

FILE = Path(__file__).with_name("targets.py")
DAY = date(2030, 6, 15)

SOUND = Record("a.py:N", "batch", sound=True)
THIRD = replace(SOUND, findings=(finding("D03", "x"),))
NOTED = replace(SOUND, findings=(finding("N01", "x"),))
CUT = replace(SOUND, sound=False, findings=(finding("G03", "x"),))
OPEN = Record("a.py:N", "batch", not_judged="its y has kinks")
LOST = replace(OPEN, not_judged="", audited=False, findings=(finding("G22", "x"),))


def run(*arguments: str, today: date = DAY) -> Result:
    """Run backnorm audit on a day."""
    return CliRunner().invoke(main, ["audit", *arguments], obj=today)


@pytest.fixture
def audited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Let audits in an empty folder give records that a test chooses; return the jobs."""
    monkeypatch.chdir(tmp_path)
    seen: list[AuditJob] = []

    def choose(*records: Record) -> list[AuditJob]:
        def audit_jobs(jobs: Sequence[AuditJob], *_: object, **__: object) -> Any:
            seen[:] = jobs
            return iter(records)

        monkeypatch.setattr("backnorm.cli._jobs.audit_jobs", audit_jobs)
        return seen

    return choose


STATUS = {
    #          finding, unsound, never
    "sound": (SOUND, (0, 0, 0)),
    "a note": (NOTED, (0, 0, 0)),
    "a finding": (THIRD, (1, 0, 0)),
    "not sound": (CUT, (1, 1, 0)),
    "not judged": (OPEN, (2, 2, 2)),
    "not audited": (LOST, (2, 2, 2)),
}


@pytest.mark.parametrize("name", STATUS)
def test_fail_on_decides_between_0_and_1_alone(audited: Any, name: str) -> None:
    """2 stays 2: it says that something was not judged."""
    record, statuses = STATUS[name]
    audited(record)
    options = ("finding", "unsound", "never")
    got = [run("a.py:N", "--fail-on", option).exit_code for option in options]
    assert tuple(got) == statuses
    assert run("a.py:N").exit_code == statuses[0]


def test_a_layer_of_a_list_that_was_not_judged_is_no_success(audited: Any) -> None:
    """1 as elsewhere, and 2 where there is no 1."""
    audited(replace(OPEN, target="torch.nn.X"))
    got = [run("torch", "--fail-on", name).exit_code for name in ("finding", "unsound", "never")]
    assert got == [1, 1, 2]


IGNORING = [("--ignore", "D03"), ("--ignore", "d"), ("--ignore", "I01,D03"), ("--select", "G")]


@pytest.mark.parametrize("option", IGNORING, ids=" ".join)
def test_an_ignored_finding_is_shown_and_does_not_count(
    audited: Any, tmp_path: Path, option: tuple[str, str]
) -> None:
    """In the table, in every document, and in the annotations, with the reason."""
    audited(THIRD)
    names = ("json", "html", "junit", "sarif", "gitlab", "markdown")
    files = [word for name in names for word in (f"--{name}", f"a.{name}")]
    result = run("a.py:N", *option, *files)
    reason = "--ignore" if option[0] == "--ignore" else "not selected"
    assert result.exit_code == 0
    assert "(D03)" in result.stdout
    assert f"(D03) ignored: {reason}" in result.stdout
    assert "1 layer audited: 1 sound. 1 finding is ignored." in result.stdout
    texts = {name: (tmp_path / f"a.{name}").read_text("utf-8") for name in names}
    assert json.loads(texts["json"])["targets"][0]["findings"][0]["ignored"] == reason
    (sarif,) = json.loads(texts["sarif"])["runs"][0]["results"]
    assert sarif["suppressions"][0]["justification"] == reason
    for name, text in texts.items():
        assert "D03" in text, name
        assert reason in text, name
    assert 'failures="0"' in texts["junit"]
    first, _ = run("a.py:N", *option, "--format", "github").stdout.splitlines()
    assert first.startswith("::notice file=a.py,title=D03 a.py%3AN::D03 is ignored")
    assert run("a.py:N", "--ignore", "I01").exit_code == 1


@pytest.mark.parametrize("record", [OPEN, LOST], ids=["not judged", "not audited"])
def test_ignoring_all_does_not_judge(audited: Any, record: Record) -> None:
    """Nor does selecting what is not there, or both."""
    audited(replace(record, findings=(*record.findings, *CUT.findings)))
    families = "G,D,S,I,M,N,R,Z"
    for options in (("--ignore", families), ("--select", "Z"), ("--fail-on", "never")):
        assert run("a.py:N", *options).exit_code == 2


WRONG = {
    "an unknown code": (("--ignore", "D99"), "--ignore must be the code of a finding, or the"),
    "no code": (("--select", ""), "--select must be the code of a finding"),
    "what was not audited": (("--ignore", "G27"), "G27 says that a target"),
    "no baseline": (("--baseline", "none.json"), "none.json cannot be read as a baseline"),
    "no place": (("--write-baseline", "no/b.json"), "no/b.json cannot be written"),
    "one file for two": (("--sarif", "a", "--write-baseline", "a"), "only one document"),
    "no settings": (("--config", "none.toml"), "none.toml cannot be read: No such file"),
    "SARIF of controls": (("--control", "--sarif", "a"), "--sarif cannot be used with --control"),
    "another status": (("--fail-on", "all"), "'all' is not one of 'unsound', 'finding', 'never'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_refused(audited: Any, name: str) -> None:
    """Status 2 before the audit."""
    jobs = audited(SOUND)
    options, message = WRONG[name]
    result = run("a.py:N", *options)
    assert (result.exit_code, result.stdout, jobs) == (2, "", [])
    assert message in result.stderr


def test_a_baseline_is_written_and_then_holds(audited: Any) -> None:
    """The run that writes it fails as usual; later only what is new counts."""
    audited(THIRD)
    assert run("a.py:N", "--write-baseline", "b.json").exit_code == 1
    result = run("a.py:N", "--baseline", "b.json")
    assert result.exit_code == 0
    assert "(D03) ignored: in the baseline b.json" in result.stdout
    audited(replace(THIRD, findings=(*THIRD.findings, finding("D02", "x"))))
    assert run("a.py:N", "--baseline", "b.json").exit_code == 1
    # What an old baseline has is in the new one too.
    assert run("a.py:N", "--baseline", "b.json", "--write-baseline", "b.json").exit_code == 1
    assert run("a.py:N", "--baseline", "b.json").exit_code == 0
    # The settings may name a baseline before it is written.
    Path("pyproject.toml").write_text('[tool.backnorm]\nbaseline = "c.json"\n', "utf-8")
    assert run("a.py:N").exit_code == 2
    assert run("a.py:N", "--write-baseline", "c.json").exit_code == 1
    assert run("a.py:N").exit_code == 0


SETTINGS = """
[tool.backnorm]
targets = ["a.py:N", {target = "b.py:M", kind = "layer", args = [4], axes = "NTC", mode = "eval"},
           {target = "c.py:build", model = true, input = ["8,3"]}]
quick = true
limit = 30
mode = "train"

[[tool.backnorm.accepted]]
finding = "D03"
target = "a.py:*"
reason = "waiting for upstream"
until = 2030-06-15
"""


def test_the_settings_name_targets_and_options(audited: Any) -> None:
    """An option of a target goes before the general one, the command line before both."""
    Path("pyproject.toml").write_text(SETTINGS, "utf-8")
    jobs = audited(SOUND)
    assert run().exit_code == 0
    got = [(j.target, j.kind, j.arguments, j.axes, j.modes, j.quick, j.model) for j in jobs]
    assert got == [
        ("a.py:N", None, None, "", "train", True, False),
        ("b.py:M", "layer", [4], "NTC", "eval", True, False),
        ("c.py:build", None, None, "", "both", False, True),
    ]
    assert jobs[2].inputs == ({"shape": [8, 3], "below": None},)
    run("b.py:M", "d.py:O", "--kind", "batch", "--mode", "both")
    got = [(j.target, j.kind, j.arguments, j.modes) for j in jobs]
    assert got == [("b.py:M", "batch", [4], "both"), ("d.py:O", "batch", None, "both")]


def test_an_accepted_finding_holds_until_its_last_day(audited: Any) -> None:
    """On the next day the audit fails, and a line on stderr says why."""
    Path("pyproject.toml").write_text(SETTINGS, "utf-8")
    audited(THIRD)
    result = run()
    assert (result.exit_code, result.stderr) == (0, "")
    assert "(D03) ignored: waiting for upstream (until 2030-06-15)" in result.stdout
    result = run(today=date(2030, 6, 16))
    assert result.exit_code == 1
    assert result.stderr == (
        "D03 of a.py:* was accepted until 2030-06-15 (waiting for upstream). The finding is still "
        "there, and counts again. Fix it, or accept it until another day.\n"
    )
    audited(SOUND)
    result = run(today=date(2030, 6, 16))
    assert result.exit_code == 0
    assert "It was not found. Remove the entry." in result.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('targets = ["a.py:N"]\nqick = true', "Did you mean quick?"),
        ('targets = [{target = "a", axes = "CN"}]', "[tool.backnorm], a: axes must"),
        ('targets = [{target = "a", model = true, input = ["8x3"]}]', "a: '8x3' is not a shape"),
        ('targets = ["a.py:N"]\nignore = ["D99"]', "must be the code of a finding"),
        ('targets = [{target = "a", python = "nopython"}]', "'nopython' is not a program"),
    ],
)
def test_wrong_settings_are_wrong_use(audited: Any, line: str, message: str) -> None:
    """Status 2 before the audit."""
    Path("pyproject.toml").write_text(f"[tool.backnorm]\n{line}\n", "utf-8")
    jobs = audited(SOUND)
    result = run()
    assert (result.exit_code, result.stdout, jobs) == (2, "", [])
    assert message in result.stderr


def test_a_real_audit_follows_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pair with a cut mean, from the file to the table."""
    monkeypatch.chdir(tmp_path)
    settings = f'[tool.backnorm]\ntargets = ["{FILE}:Cut"]\nquick = true\n'
    (tmp_path / "a.toml").write_text(settings, "utf-8")
    assert run("--config", "a.toml").exit_code == 1
    accepted = f'[[tool.backnorm.accepted]]\nfinding = "G01"\ntarget = "{FILE}:Cut"\n'
    accepted += 'reason = "constants by design"\nuntil = 2030-12-31\n'
    (tmp_path / "a.toml").write_text(settings + accepted, "utf-8")
    result = run("--config", "a.toml")
    assert result.exit_code == 0
    assert "1 layer audited: 0 sound, 1 not sound. 1 finding is ignored." in result.stdout
