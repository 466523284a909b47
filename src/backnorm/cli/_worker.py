"""The child process: takes jobs from stdin, audits them, and answers in JSON, a line each.

Foreign code runs here. Whatever it prints goes to stderr, whatever it reads from stdin is empty,
and when the parent goes, this goes too, even from within an endless loop.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from typing import IO, Any, Final

from backnorm.audit import audit
from backnorm.audit.findings import fault
from backnorm.audit.record import Record
from backnorm.audit.registry import Request
from backnorm.cli._child import NEXT
from backnorm.cli._targets import find_subjects
from backnorm.errors import SubjectError

__all__ = ["main"]

GRACE: Final = 1.0
"""Seconds that an orphaned worker has to end by itself."""


def main() -> None:
    """Answer jobs until the parent closes the pipe."""
    jobs_pipe, answers = _take_pipes()
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs_pipe, jobs), daemon=True).start()
    while job := jobs.get():
        _answer(json.loads(job), answers)


def _take_pipes() -> tuple[IO[str], IO[str]]:
    """Keep the two pipes for jobs and answers, and leave foreign code others."""
    jobs = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return jobs, answers


def _listen(pipe: IO[str], jobs: queue.SimpleQueue[str]) -> None:
    """Pass jobs on; when the parent is gone, end the process, by force if a target is at work."""
    for line in pipe:
        jobs.put(line)
    jobs.put("")
    time.sleep(GRACE)
    os._exit(0)


def _answer(job: dict[str, Any], answers: IO[str]) -> None:
    _begin()
    target, skip = job["target"], job["skip"]
    request = Request(job["kind"], job["arguments"], job["calls"])
    try:
        subjects = find_subjects(target, request)
    except Exception as error:  # noqa: BLE001 - foreign code ran
        _say(answers, record=_not_found(target, request, error).to_dict())
        _say(answers, done=True)
        return
    _say(answers, subjects=[[subject.name, subject.kind] for subject in subjects])
    for subject in subjects[skip:]:
        _begin()
        _say(answers, starting=subject.name)
        _say(answers, record=audit(subject).to_dict())
    _say(answers, done=True)


def _begin() -> None:
    """Mark on stderr where the words about something new begin.

    There, since answers take another pipe: the parent would not know which came first.
    """
    sys.stderr.flush()
    os.write(2, NEXT)


def _not_found(target: str, request: Request, error: Exception) -> Record:
    known = error if isinstance(error, SubjectError) else SubjectError.raised(target, error)
    return Record(target, request.kind or "batch", findings=(fault(known),), audited=False)


def _say(answers: IO[str], **message: Any) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
