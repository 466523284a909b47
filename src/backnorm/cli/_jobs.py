"""Targets as jobs for a child process, and a new child wherever one is lost."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import backnorm
from backnorm.audit.thresholds import HANG_SECONDS
from backnorm.cli._child import Child, start_child
from backnorm.cli._progress import AuditJob, ModelProgress, Stage, SubjectProgress
from backnorm.cli._remote import installed
from backnorm.host.calls import calls_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from backnorm.audit.record import Record

__all__ = ["AuditJob", "Stage", "audit_jobs"]

MARGIN: Final = 10.0
"""Seconds that a child has to end a host which hangs, and to say so, before it is given up too."""


def audit_jobs(
    jobs: Sequence[AuditJob],
    at_work: Callable[[Stage], object] = lambda _: None,
    *,
    seconds: float = HANG_SECONDS,
    environment: dict[str, str] | None = None,
) -> Iterator[Record]:
    """Audit targets in a child process.

    Parameters
    ----------
    jobs
        The targets.
    at_work
        Called with what is begun.
    seconds
        How long the gradient of a subject, or one of its probes, may take.
    environment
        Filled with the versions in other interpreters, as they tell them.

    Yields
    ------
    Record
        One for each subject, in order. A subject that hangs, or ends the child, before its gradient
        is judged gets a record that says so. If it does so in a later probe, its record says so
        among what else is known of it. A layer of a model that does so has such a record too. A new
        child goes on with what comes next.
    """
    crew = _Crew()
    try:
        for job in jobs:
            for one in [job] if job.model else _on_each_backend(job, seconds):
                yield from _audit_job(crew, one, at_work, seconds)
    finally:
        if environment is not None:
            environment.update(crew.told)
        crew.dismiss()


def _on_each_backend(job: AuditJob, seconds: float) -> list[AuditJob]:
    """Make a job for each backend of a framework that has several, and one a process."""
    calls = calls_of(job.target)
    if job.program or not hasattr(calls, "BACKENDS") or calls.VARIABLE in os.environ:
        return [job]
    there = installed(job.python or sys.executable, [job.target, *calls.BACKENDS], seconds)
    backends = [name for name in calls.BACKENDS if name in there and job.target in there]
    jobs = [replace(job, environment={calls.VARIABLE: name}) for name in backends]
    return jobs or [job]


@dataclass(slots=True)
class _Crew:
    """The child that is at work, if any."""

    children: list[Child] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)

    def ask(
        self, job: AuditJob, resumed: Mapping[str, Any], seconds: float
    ) -> Iterator[dict[str, Any]]:
        """Yield the messages of a child about a job; a lost child says how it went.

        `resumed` says what an earlier child has done of it.
        """
        if not self.children:
            self.children.append(_start_worker())
        child = self.children[0]
        child.send({**asdict(job), **resumed, "seconds": seconds})
        hosted = job.python or job.environment or job.program
        for message in child.receive(seconds + MARGIN if hosted else seconds):
            self.told.update(message.get("environment", {}))
            if "lost" in message:
                # With a host it is asked to end, so that it ends the host.
                garbled = message["lost"] == "garbled"
                ending = child.end() if hosted and not garbled else child.lost(message)
                self.children.clear()
                yield {**message, "ending": ending}
                return
            yield message
            if message.get("left"):
                # What a subject has left is not to disturb the next one.
                child.kill()
                self.children.clear()
                return

    def dismiss(self) -> None:
        """End the child."""
        while self.children:
            self.children.pop().end()


def _start_worker() -> Child:
    root = Path(next(iter(backnorm.__path__))).parent
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-P", "-m", "backnorm.cli._worker"]
    return start_child(command, {"PYTHONPATH": os.pathsep.join(paths)})


def _audit_job(
    crew: _Crew, job: AuditJob, at_work: Callable[[Stage], object], seconds: float
) -> Iterator[Record]:
    progress = ModelProgress(job, seconds) if job.model else SubjectProgress(job, seconds)
    while not progress.over:
        for message in crew.ask(job, progress.resumed, seconds):
            record = progress.after(message)
            if not {"lost", "record", "so_far"} & message.keys():
                at_work(progress.stage)
            if record is not None:
                yield record
