"""The child process: takes jobs, audits them, and answers with records.

Foreign code runs here, or, for another interpreter, in a host that this process starts. When the
parent goes, both go.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from backnorm.audit import audit
from backnorm.audit.findings import fault
from backnorm.audit.record import Record
from backnorm.audit.subjects.request import AuditRequest
from backnorm.cli._hosts import Host
from backnorm.cli._models import audit_target
from backnorm.cli._targets import TARGETS, as_asked, asked_of, find_subjects, place_of
from backnorm.errors import SubjectError
from backnorm.host.calls import FRAMEWORKS
from backnorm.host.serve import begin, environment, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm.audit.subject import Subject

__all__ = ["main"]

HOSTS: list[Host] = []
"""The host at work, if any; at the end of this process it is ended too."""


def main() -> None:
    """Answer jobs until the parent closes the pipe."""
    # The parent has put the directory of this package first; no other interpreter may look there.
    _, *others = os.environ["PYTHONPATH"].split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(others)
    serve(_answer, _dismiss)


def _dismiss() -> None:
    while HOSTS:
        HOSTS.pop().kill()


def _answer(job: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
    begin()
    if job["model"]:
        _answer_model(job, say)
        return
    request = AuditRequest(job["kind"], job["axes"], job["arguments"], job["modes"])

    def starting(name: str) -> None:
        begin()
        for host in HOSTS:
            host.begin()
        say({"starting": name})

    try:
        subjects = _subjects(job, request, starting)
    except Exception as error:  # noqa: BLE001 - foreign code ran
        say({"record": _not_found(job["target"], request, error).to_dict()})
        subjects = ()
    else:
        say({"subjects": [[subject.name, subject.kind] for subject in subjects]})
    for subject in subjects[job["skip"] :]:
        starting(subject.name)
        record = audit(subject, quick=job["quick"], at_work=lambda probe: say({"probing": probe}))
        say({"record": record.to_dict()})
    told = HOSTS[0].told if HOSTS else environment(FRAMEWORKS)
    for host in HOSTS:
        host.end()
    _dismiss()
    say({"done": True, "environment": told})


def _answer_model(job: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
    """Say nothing of its subjects: layers are known when all of them have been audited."""

    def starting(name: str) -> None:
        begin()
        say({"starting": name})

    target = job["target"]
    try:
        records = audit_target(target, job["inputs"], job["arguments"], starting)
    except Exception as error:  # noqa: BLE001 - foreign code ran
        records = (_not_found(target, AuditRequest(), error),)
    for record in records:
        say({"record": record.to_dict()})
    say({"done": True})


def _subjects(
    job: dict[str, Any], request: AuditRequest, starting: Callable[[str], None]
) -> tuple[Subject, ...]:
    """Find the subjects of a job: here, or in another interpreter or environment."""
    if not job["python"] and not job["environment"]:
        return find_subjects(job["target"], request)
    target, python = job["target"], job["python"] or sys.executable
    asked = asked_of(target, request)
    host = Host(python, job["environment"], place_of(target), asked, TARGETS, job["seconds"])
    HOSTS.append(host)
    return as_asked(target, request, host.subjects(starting))


def _not_found(target: str, request: AuditRequest, error: Exception) -> Record:
    known = error if isinstance(error, SubjectError) else SubjectError.raised(target, error)
    return Record(target, request.kind or "batch", findings=(fault(known),), audited=False)


if __name__ == "__main__":
    main()
