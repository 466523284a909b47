"""Targets as jobs for a child process, and a new child wherever one is lost."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from backnorm.audit.findings import fault
from backnorm.audit.record import Record
from backnorm.audit.thresholds import HANG_SECONDS
from backnorm.cli._child import Child, start_child
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from backnorm.audit.kinds import Kind
    from backnorm.audit.registry import Calls

__all__ = ["Job", "audit_jobs"]


@dataclass(frozen=True, slots=True)
class Job:
    """A target, and what is asked of it.

    Attributes
    ----------
    target
        What to audit, as the user wrote it.
    kind
        The kind of normalization; None for what the target says itself.
    arguments
        Arguments of a class or function.
    calls
        Which modes to audit.
    """

    target: str
    kind: Kind | None = None
    arguments: dict[str, Any] | list[Any] | None = None
    calls: Calls = "both"


def audit_jobs(
    jobs: Sequence[Job],
    at_work: Callable[[str], object] = lambda _: None,
    *,
    seconds: float = HANG_SECONDS,
) -> Iterator[Record]:
    """Audit targets in a child process.

    Parameters
    ----------
    jobs
        The targets.
    at_work
        Called with the name of what is begun.
    seconds
        How long one subject may take.

    Yields
    ------
    Record
        One for each subject, in order. A subject that hangs, or ends the child, gets a record
        that says so, and a new child goes on with the next one.
    """
    crew = _Crew()
    try:
        for job in jobs:
            yield from _audit_job(crew, job, at_work, seconds)
    finally:
        crew.dismiss()


@dataclass(slots=True)
class _Crew:
    """The child that is at work, if any."""

    children: list[Child] = field(default_factory=list)

    def ask(self, job: Job, skip: int, seconds: float) -> Iterator[dict[str, Any]]:
        """Yield the messages of a child about a job; a lost child says how it went."""
        if not self.children:
            self.children.append(start_child())
        child = self.children[0]
        child.send({**asdict(job), "skip": skip})
        for message in child.receive(seconds):
            if "lost" in message:
                # One that closed its end is about to end; one that hangs never will.
                how, words = child.end() if message["lost"] == "died" else child.kill()
                self.children.clear()
                yield {**message, "how": how, "words": words}
            else:
                yield message

    def dismiss(self) -> None:
        """End the child."""
        while self.children:
            self.children.pop().end()


def _audit_job(
    crew: _Crew, job: Job, at_work: Callable[[str], object], seconds: float
) -> Iterator[Record]:
    names: list[tuple[str, Kind]] = []
    done = 0
    while True:
        lost = False
        for message in crew.ask(job, done, seconds):
            names = message.get("subjects", names)
            at_work(message.get("starting", job.target))
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
    job: Job, names: Sequence[tuple[str, Kind]], done: int, message: dict[str, Any], seconds: float
) -> Record:
    """Return the record of the subject that took the child with it."""
    name, kind = names[done] if names else (job.target, job.kind or "batch")
    if message["lost"] == "hung":
        error = SubjectError.hung(name, seconds)
    else:
        error = SubjectError.died(name, message["how"], message["words"])
    return Record(target=name, kind=kind, findings=(fault(error),), audited=False)
