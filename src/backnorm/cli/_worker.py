"""The child process: takes jobs, audits them, and answers with records.

Foreign code runs here, or, for another interpreter, in a host that this process starts. When the
parent goes, both go.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from backnorm.audit.conduct import conduct_by_probes, faulty
from backnorm.audit.findings import fault
from backnorm.audit.record import Record
from backnorm.audit.specimens.control import Control, controls_of
from backnorm.audit.subjects.blame import blamed
from backnorm.audit.subjects.registry import names_of_layers
from backnorm.audit.subjects.request import AuditRequest
from backnorm.cli._hosts import Host
from backnorm.cli._models import audit_target
from backnorm.cli._programs import Program
from backnorm.cli._ranks import Group, OneRank, record_over_ranks, refused
from backnorm.cli._remote import Interpreter
from backnorm.cli._targets import TARGETS, as_asked, asked_of, find_subjects, place_of
from backnorm.host.calls import FRAMEWORKS
from backnorm.host.serve import begin, serve
from backnorm.host.versions import environment
from backnorm.host.watch import running, supervise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backnorm.audit.subject import Subject
    from backnorm.cli._hosts import Tongue

__all__ = ["main"]

SETTLE: Final = 0.25
"""Seconds in which a process may end that was at work in the last call."""

HOSTS: list[Host] = []
"""The host at work, if any; at the end of this process it is ended too."""


def main() -> None:
    """Answer jobs until the parent closes the pipe."""
    # The parent has put the directory of this package first; no other interpreter may look there.
    _, *others = os.environ["PYTHONPATH"].split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(others)
    # Targets may be in the current directory. It goes last: its files must not hide modules.
    sys.path.append("")
    supervise()
    serve(_answer, _dismiss)


def _dismiss() -> None:
    while HOSTS:
        HOSTS.pop().kill()


def _answer(job: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
    if not job["ranks"]:
        _answer_job(job, say)
        return
    with tempfile.TemporaryDirectory(prefix="backnorm-ranks-") as folder:
        _answer_job({**job, "folder": folder}, say)


def _answer_job(job: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
    begin()
    if job["lists"]:
        say({"listed": names_of_layers(job["target"]), "done": True})
        return
    if job["model"]:
        _answer_model(job, say)
        return
    request = AuditRequest(
        job["kind"],
        job["axes"],
        job["arguments"],
        job["modes"],
        place=job["place"],
        device=job["device"],
    )

    # What runs where the subjects are: once a target is imported, and before a layer is called.
    known_at_work = _AtWork()

    def trying(_: str) -> None:
        begin()
        known_at_work.begin()

    def starting(name: str) -> None:
        trying(name)
        for host in HOSTS:
            host.begin()
        say({"starting": name})

    try:
        subjects = _subjects(job, request, trying, starting)
    except Exception as error:  # noqa: BLE001 - foreign code ran
        say({"record": _not_found(job["target"], request, error).to_dict()})
    else:
        asked = _with_controls(subjects) if job["control"] else subjects
        say({"subjects": [[one.name, one.kind] for one in asked]})
        known = Record.from_dict(job["known"]) if job["known"] else None
        for one in asked[job["skip"] :]:
            starting(one.name)
            record = _audited(job, request, one, known, say)
            _say_record(_with_notes(record), known_at_work.left(), say)
            known = None
    told = _environment()
    for host in HOSTS:
        host.end()
    _dismiss()
    say({"done": True, "environment": told})


def _say_record(record: Record, left: str, say: Callable[[dict[str, Any]], None]) -> None:
    """Say the record of a subject, and what the subject has left."""
    if left:
        record = replace(record, notes=(*record.notes, left))
    say({"record": record.to_dict(), "left": bool(left), "environment": _environment()})


def _with_notes(record: Record) -> Record:
    """Add what was found out about the process of a subject."""
    notes = tuple(note for host in HOSTS for note in host.tongue.notes())
    return replace(record, notes=(*record.notes, *notes))


def _with_controls(subjects: Sequence[Subject]) -> tuple[Control, ...]:
    return tuple(control for subject in subjects for control in controls_of(subject))


def _audited_alone(
    subject: Subject | Control,
    known: Record | None,
    say: Callable[[dict[str, Any]], None],
    *,
    quick: bool,
) -> Record:
    """Audit a subject, and say after each probe what is known so far; or make a control of it."""

    def probing(probe: str) -> None:
        begin()
        for host in HOSTS:
            host.begin()
        say({"probing": probe})

    if isinstance(subject, Control):
        return subject.record(probing)
    record = None
    for record in conduct_by_probes(subject, quick=quick, at_work=probing, known=known):
        if not quick:
            say({"so_far": record.to_dict()})
    assert record is not None  # noqa: S101 - there is one for the gradient
    return record


def _audited(
    job: dict[str, Any],
    request: AuditRequest,
    subject: Any,
    known: Record | None,
    say: Callable[[dict[str, Any]], None],
) -> Record:
    """Audit a subject: in one process, and in several where that is asked for."""
    error = refused(subject) if job["ranks"] else None
    if error is not None:
        return faulty(subject, error)
    record = _audited_alone(subject, known, say, quick=job["quick"])
    if not job["ranks"] or not record.audited:
        return record
    interpreter, place = _interpreter(job, request), place_of(job["target"])

    def group(ranks: int, begin: Callable[[], object]) -> Group:
        return Group(ranks, interpreter, place, subject, job["seconds"], job["folder"], begin)

    def at_work(probe: str) -> None:
        for host in HOSTS:
            host.begin()
        say({"probing": probe})

    return record_over_ranks(subject, record, job["ranks"], group, at_work)


@dataclass(slots=True)
class _AtWork:
    """What runs in the process of the subjects: the number of the process, and what it was."""

    process: int = 0
    known: set[tuple[str, int]] = field(default_factory=set)

    def begin(self) -> None:
        """Take what runs in a new process for its own."""
        process, found = _running()
        if process != self.process:
            self.process, self.known = process, found

    def left(self) -> str:
        """Say what has been left since; nothing of a process that was lost meanwhile."""
        process, found = _running()
        if found - self.known:
            # What is about to end, as a command of a shell that has just answered, is not left.
            time.sleep(SETTLE)
            process, later = _running()
            found &= later
        left = Counter(what for what, _ in found - self.known) if process == self.process else None
        if not left:
            return ""
        plural = {"process": "processes", "thread": "threads"}
        counted = [f"{n} {what if n == 1 else plural[what]}" for what, n in sorted(left.items())]
        return f"It left {' and '.join(counted)} running, which the audit ended."


def _running() -> tuple[int, set[tuple[str, int]]]:
    return HOSTS[0].running() if HOSTS else (os.getpid(), running())


def _environment() -> dict[str, str]:
    return HOSTS[0].told if HOSTS else environment(FRAMEWORKS)


def _answer_model(job: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
    """Say each record as soon as it is known: what follows may lose this process."""

    def starting(message: dict[str, Any]) -> None:
        begin()
        say(message)

    target, asked = job["target"], (job["inputs"], job["arguments"])
    try:
        for record in audit_target(target, *asked, starting, done=job["done"], most=job["most"]):
            say({"record": record.to_dict()})
    except Exception as error:  # noqa: BLE001 - foreign code ran
        say({"record": _not_found(target, AuditRequest(), error).to_dict()})
    say({"done": True})


def _subjects(
    job: dict[str, Any],
    request: AuditRequest,
    trying: Callable[[str], None],
    starting: Callable[[str], None],
) -> tuple[Subject, ...]:
    """Find the subjects of a job: here, or in another interpreter or environment."""
    target = job["target"]
    if job["program"]:
        program = Program(tuple(job["program"]), asked_of("", request))
        return as_asked("", request, _hosted(Host(program, target, job["seconds"]), starting))
    if not job["python"] and not job["environment"] and not job["ranks"]:
        return find_subjects(target, request, trying)
    interpreter = _interpreter(job, request)
    tongue: Tongue = OneRank(interpreter, job["folder"]) if job["ranks"] else interpreter
    host = Host(tongue, place_of(target), job["seconds"])
    return as_asked(target, request, _hosted(host, starting))


def _interpreter(job: dict[str, Any], request: AuditRequest) -> Interpreter:
    python, asked = job["python"] or sys.executable, asked_of(job["target"], request)
    return Interpreter(python, job["environment"], asked, TARGETS)


def _hosted(host: Host, starting: Callable[[str], None]) -> tuple[Subject, ...]:
    HOSTS.append(host)
    return host.subjects(starting)


def _not_found(target: str, request: AuditRequest, error: Exception) -> Record:
    found = (fault(blamed(target, error)),)
    return Record(target, request.kind or "batch", findings=found, audited=False)


if __name__ == "__main__":
    main()
