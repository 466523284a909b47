"""Targets in a child process: what takes the child along is reported, and the rest goes on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from backnorm.audit.specimens import SPECIMENS
from backnorm.cli._jobs import AuditJob, Stage, audit_jobs
from cli.processes import LIMIT, assert_gone, pids_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm.audit.record import Record

FILE = Path(__file__).with_name("targets.py")


def audited(*names: str, seconds: float = 60.0) -> list[Record]:
    """Audit names in targets.py."""
    return list(audit_jobs([AuditJob(f"{FILE}:{name}") for name in names], seconds=seconds))


def codes(records: list[Record]) -> list[list[str]]:
    """Codes of the findings, record after record."""
    return [[finding.code for finding in record.findings] for record in records]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """After each test no child of this process is left."""
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    yield
    after = psutil.Process().children(recursive=True)
    assert [process for process in after if process.pid not in before] == []


def test_the_others_are_audited_all_the_same() -> None:
    """A crash, an exit, an error, and between them right and wrong ones."""
    records = audited("Right", "Crashes", "Cut", "Exits", "Raises", "Right")
    assert codes(records) == [[], ["G25"], ["G01"], ["G25"], ["G20"], []]
    assert [r.audited for r in records] == [True, False, True, False, False, True]
    assert records[1].findings[0].got == "signal SIGSEGV, last words: goodbye"
    assert records[3].findings[0].got == "exit status 7"


def test_a_target_that_hangs_when_it_is_looked_at_is_given_up() -> None:
    """After its time, and the next one is audited."""
    records = audited("Hangs", "Right", seconds=LIMIT)
    assert codes(records) == [["G21"], []]
    assert records[0].findings[0].expected == f"be done within {LIMIT:g} s"


def test_nothing_is_left_of_a_target_that_hangs_in_an_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the child nor the processes that the target started; the next one is audited."""
    pids = tmp_path / "pids"
    monkeypatch.setenv("BACKNORM_TEST_PIDS", str(pids))
    assert codes(audited("HangsLater", "Right", seconds=LIMIT)) == [["G21"], []]
    started = pids_in(pids)
    assert len(started) == 2
    assert_gone(started)


def test_what_a_target_prints_is_not_taken_for_an_answer() -> None:
    """Megabytes on stdout and stderr, looking like answers, change nothing."""
    (record,) = audited("Loud")
    assert record.sound


def test_a_lost_child_loses_one_subject() -> None:
    """Of a target with several subjects the others are audited, before and after."""
    jobs = [AuditJob("specimens", quick=True), AuditJob(f"{FILE}:Crashes"), AuditJob("engine")]
    records = list(audit_jobs(jobs))
    later = sum(verdict.later for _, verdict in SPECIMENS.values())
    assert sum(record.as_expected() is True for record in records) == len(records) - 3 - later
    assert codes(records[-3:]) == [["G25"], [], []]


def test_giving_up_early_leaves_nothing() -> None:
    """Who stops after the first record leaves no child behind."""
    records = audit_jobs([AuditJob("specimens", quick=True)])
    assert next(iter(records)).sound
    records.close()  # type: ignore[attr-defined]


def test_progress_is_told() -> None:
    """Each subject is named when it is begun, with how many are done, and each probe."""
    stages: list[Stage] = []
    list(audit_jobs([AuditJob("engine", quick=True)], stages.append))
    first, second = "backnorm.batch_norm", "backnorm.batch_norm (frozen)"
    assert list(dict.fromkeys(stages)) == [
        Stage("engine", total=2),
        Stage(first, total=2),
        Stage(first, "gradient", total=2),
        Stage(second, done=1, total=2),
        Stage(second, "gradient", done=1, total=2),
        Stage(second, done=2, total=2),
    ]
