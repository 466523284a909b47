"""What a target leaves is ended with it, at once, and said."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backnorm.cli._jobs import AuditJob, audit_jobs
from cli.processes import assert_gone, pids_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm.audit.record import Record

FILE = Path(__file__).with_name("leaving.py")
ROUTES = {"in process": "", "under an interpreter": sys.executable}
SECONDS = 120.0
"""Time of a target: none of those that end may need it."""


@pytest.fixture(autouse=True)
def pids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """After each test no process is left that its target has started."""
    file = tmp_path / "pids"
    monkeypatch.setenv("BACKNORM_TEST_PIDS", str(file))
    yield file
    assert_gone(pids_in(file))


def audited(name: str, route: str, seconds: float = SECONDS) -> tuple[Record, Record]:
    """Audit a name in leaving.py, and a right pair after it."""
    targets = (f"{FILE}:{name}", f"{FILE.with_name('hosted.py')}:Right")
    jobs = [AuditJob(target, python=ROUTES[route], quick=True) for target in targets]
    first, second = audit_jobs(jobs, seconds=seconds)
    return first, second


LEFT = {"Session": "1 process", "Orphan": "1 process", "Thread": "1 thread"}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", LEFT)
def test_what_is_left_is_said_and_no_fault(name: str, route: str, pids: Path) -> None:
    """A note of the record; it is gone before the next target is audited."""
    record, after = audited(name, route)
    assert record.notes[-1] == f"It left {LEFT[name]} running, which the audit ended."
    assert record.clean
    assert after.clean
    assert not after.notes
    assert len(pids_in(pids)) == ("process" in LEFT[name])


ENDED = {
    # name: (code, what was got, what else is said)
    "OrphanDies": ("G25", "signal SIGABRT", "A process that it had started was ended too."),
    "ThreadExits": ("G25", "exit status 1, last output: no more", ""),
    "Garbage": ("G25", "bytes that are not a message", "wrote to a pipe of the audit"),
    "Closes": ("G25", "exit status 1, last output: ", ""),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", ENDED)
def test_what_ends_is_ended_at_once(name: str, route: str) -> None:
    """Nobody waits for a process that holds a pipe, for a thread, or for the rest of a message.

    Whoever waited would find that it hangs: G21.
    """
    code, got, also = ENDED[name]
    record, after = audited(name, route)
    (found,) = record.findings
    assert found.code == code
    assert found.got.startswith(got)
    assert also in found.what
    assert after.clean


@pytest.mark.sampled(2)
@pytest.mark.parametrize("route", ROUTES)
def test_what_a_hung_target_left_is_ended_too(route: str, pids: Path) -> None:
    """In whatever session it is; the finding says so."""
    record, after = audited("SessionHangs", route, seconds=10.0)
    (found,) = record.findings
    assert found.code == "G21"
    assert found.what.endswith("A process that it had started was ended too.")
    assert len(pids_in(pids)) == 1
    assert after.clean
