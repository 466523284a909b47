"""Targets as jobs for a child process, and a new child wherever one is lost."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import backnorm
from backnorm.audit.findings import fault
from backnorm.audit.record import Record
from backnorm.audit.thresholds import HANG_SECONDS
from backnorm.cli._child import Child, start_child
from backnorm.cli._hosts import installed
from backnorm.errors import SubjectError
from backnorm.host.calls import calls_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from backnorm.audit.kinds import Kind
    from backnorm.audit.subjects.request import Modes

__all__ = ["AuditJob", "Stage", "audit_jobs"]

MARGIN: Final = 10.0
"""Seconds that a child has to end a host which hangs, and to say so, before it is given up too."""


@dataclass(frozen=True, slots=True)
class AuditJob:
    """A target, and what is asked of it.

    Attributes
    ----------
    target
        What to audit, as the user wrote it.
    kind
        The kind of normalization; None for what the target says itself.
    arguments
        Arguments of a class or function.
    modes
        Which of them to audit.
    python
        The interpreter that runs the target; empty for the one that runs the audit.
    model
        Whether the target is a whole model, each layer of which is audited in its place.
    inputs
        What to call that model with: of each argument its shape, and for integers the number that
        they are below.
    environment
        Environment variables that the target needs, in a separate process.
    quick
        Whether to look at the gradient alone.
    axes
        The order of the axes of x, such as NHWC; empty for what the target says itself.
    """

    target: str
    kind: Kind | None = None
    arguments: dict[str, Any] | list[Any] | None = None
    modes: Modes = "both"
    python: str = ""
    model: bool = False
    inputs: tuple[dict[str, Any], ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    quick: bool = False
    axes: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """How far the work on a job has come.

    Attributes
    ----------
    name
        The subject that is at work, or the target while its subjects are looked for.
    probe
        What is looked at; empty before the first probe.
    done, total
        Subjects of this job that are done, and all of them; total is 0 while it is not known.
    """

    name: str
    probe: str = ""
    done: int = 0
    total: int = 0


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
        How long one subject may take.
    environment
        Filled with the versions in other interpreters, as they tell them.

    Yields
    ------
    Record
        One for each subject, in order. A subject that hangs, or ends the child, gets a record
        that says so, and a new child goes on with the next one.
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
    if not hasattr(calls, "BACKENDS") or calls.VARIABLE in os.environ:
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

    def ask(self, job: AuditJob, skip: int, seconds: float) -> Iterator[dict[str, Any]]:
        """Yield the messages of a child about a job; a lost child says how it went."""
        if not self.children:
            self.children.append(_start_worker())
        child = self.children[0]
        child.send({**asdict(job), "skip": skip, "seconds": seconds})
        hosted = job.python or job.environment
        for message in child.receive(seconds + MARGIN if hosted else seconds):
            self.told.update(message.get("environment", {}))
            if "lost" in message:
                # With a host it is asked to end, so that it ends the host.
                how, words = child.end() if hosted else child.lost(message)
                self.children.clear()
                yield {**message, "how": how, "words": words}
            else:
                yield message

    def dismiss(self) -> None:
        """End the child."""
        while self.children:
            self.children.pop().end()


def _start_worker() -> Child:
    root = Path(next(iter(backnorm.__path__))).parent
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", "backnorm.cli._worker"]
    return start_child(command, {"PYTHONPATH": os.pathsep.join(paths)})


def _audit_job(
    crew: _Crew, job: AuditJob, at_work: Callable[[Stage], object], seconds: float
) -> Iterator[Record]:
    names: list[tuple[str, Kind]] = []
    done, name = 0, job.target
    while True:
        lost = False
        for message in crew.ask(job, done, seconds):
            names = message.get("subjects", names)
            name = message.get("starting", name)
            at_work(Stage(name, message.get("probing", ""), done, len(names)))
            if "record" in message:
                done += 1
                yield Record.from_dict(message["record"])
            lost = "lost" in message
            if lost and (done < len(names) or not names):
                yield _lost(job, names, done, message, seconds)
                done += 1
        if not lost or done >= len(names):
            return


def _lost(
    job: AuditJob,
    names: Sequence[tuple[str, Kind]],
    done: int,
    message: dict[str, Any],
    seconds: float,
) -> Record:
    """Return the record of the subject that took the child with it."""
    name, kind = names[done] if names else (job.target, job.kind or "batch")
    if message["lost"] == "hung":
        error = SubjectError.hung(name, seconds)
    else:
        error = SubjectError.died(name, message["how"], message["words"])
    return Record(target=name, kind=kind, findings=(fault(error),), audited=False)
