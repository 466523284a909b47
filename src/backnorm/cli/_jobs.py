"""Targets as jobs for a child process, and a new child wherever one is lost."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import backnorm
from backnorm.audit.conduct import GRADIENT
from backnorm.audit.findings import fault
from backnorm.audit.probes import with_lost, without_the_others
from backnorm.audit.record import Record
from backnorm.audit.thresholds import HANG_SECONDS
from backnorm.cli._child import Child, start_child
from backnorm.cli._hosts import installed, lost_error
from backnorm.host.calls import calls_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

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
    control
        Whether to make the negative controls of the target in place of its audit.
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
    control: bool = False


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
        How long the gradient of a subject, or one of its probes, may take.
    environment
        Filled with the versions in other interpreters, as they tell them.

    Yields
    ------
    Record
        One for each subject, in order. A subject that hangs, or ends the child, before its gradient
        is judged gets a record that says so. If it does so in a later probe, its record says so
        among what else is known of it. A new child goes on with what comes next.
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

    def ask(
        self, job: AuditJob, skip: int, known: Record | None, seconds: float
    ) -> Iterator[dict[str, Any]]:
        """Yield the messages of a child about a job; a lost child says how it went."""
        if not self.children:
            self.children.append(_start_worker())
        child = self.children[0]
        so_far = None if known is None else known.to_dict()
        child.send({**asdict(job), "skip": skip, "known": so_far, "seconds": seconds})
        hosted = job.python or job.environment
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
    progress = _Progress(job, seconds)
    while not progress.over:
        for message in crew.ask(job, progress.done, progress.known, seconds):
            record = progress.after(message)
            if not {"lost", "record", "so_far"} & message.keys():
                at_work(progress.stage)
            if record is not None:
                yield record


@dataclass(slots=True)
class _Progress:
    """How far the work on a job has come, by the messages about it.

    Attributes
    ----------
    job, seconds
        The job, and the time of each probe.
    names
        Names and kinds of all its subjects.
    name, probe
        What is at work.
    done
        How many subjects are done.
    known
        The record so far of the subject that is at work.
    since
        When its probe was begun.
    over
        Whether the job is done.
    """

    job: AuditJob
    seconds: float
    names: list[tuple[str, Kind]] = field(default_factory=list)
    name: str = ""
    probe: str = ""
    done: int = 0
    known: Record | None = None
    since: float = 0.0
    over: bool = False

    @property
    def stage(self) -> Stage:
        """What is at work, for whoever waits."""
        return Stage(self.name or self.job.target, self.probe, self.done, len(self.names))

    def after(self, message: Mapping[str, Any]) -> Record | None:
        """Take a message in; return the record of a subject if it is complete."""
        self.names = message.get("subjects", self.names)
        self.name = message.get("starting", self.name)
        if not {"lost", "so_far"} & message.keys():
            self.probe, self.since = message.get("probing", ""), monotonic()
        if "so_far" in message:
            self.known = Record.from_dict(message["so_far"])
        record = None
        if "record" in message:
            record = self._done(Record.from_dict(message["record"]))
        if "lost" in message:
            record = self._lost(message)
        ended = self.known is None and self.done >= len(self.names)
        self.over = "done" in message or (not self._goes_on(message) and ended)
        return record

    @staticmethod
    def _goes_on(message: Mapping[str, Any]) -> bool:
        """Whether the child has more to say after a message."""
        return "lost" not in message and not message.get("left")

    def _done(self, record: Record) -> Record:
        self.done, self.known = self.done + 1, None
        return record

    def _lost(self, message: Mapping[str, Any]) -> Record | None:
        """Add to what is known how the child was lost; return the record unless it goes on."""
        if self.done >= len(self.names) > 0:
            return None
        name, kind = self._at_work()
        error = lost_error(name, message["lost"], message["ending"], self.seconds)
        if self.known is None:
            return self._done(Record(name, kind, findings=(fault(error),), audited=False))
        if self.probe in ("", GRADIENT):
            why = f"the gradient could not be measured again: {error.problem}"
            return self._done(without_the_others(self.known, why))
        self.known = with_lost(self.known, self.probe, error, monotonic() - self.since)
        return None

    def _at_work(self) -> tuple[str, Kind]:
        if self.done < len(self.names):
            return self.names[self.done]
        return self.job.target, self.job.kind or "batch"
