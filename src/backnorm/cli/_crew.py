"""The child that works on jobs, and a new one wherever it is lost."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import backnorm
from backnorm.cli._child import Child, start_child
from backnorm.cli._progress import AuditJob, ModelProgress, SubjectProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from backnorm.audit.record import Record
    from backnorm.cli._progress import Stage

__all__ = ["Crew", "audit_job", "names_in_list"]

MARGIN: Final = 10.0
"""Seconds that a child has to end a host which hangs, and to say so, before it is given up too."""


@dataclass(slots=True)
class Crew:
    """The child that is at work, if any.

    Attributes
    ----------
    children
        The child.
    told
        Versions in other interpreters, as they tell them.
    closed
        Whether it was ended for good: then it starts no other child.
    """

    children: list[Child] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)
    closed: bool = False

    def ask(
        self, job: AuditJob, resumed: Mapping[str, Any], seconds: float
    ) -> Iterator[dict[str, Any]]:
        """Yield the messages of a child about a job; a lost child says how it went.

        `resumed` says what an earlier child has done of it.
        """
        if not self.children:
            self.children.append(_start_worker())
        if self.closed:
            # Meanwhile, in another thread.
            self.dismiss()
            return
        child = self.children[0]
        child.send({**asdict(job), **resumed, "seconds": seconds})
        hosted = job.python or job.environment or job.program or job.ranks
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

    def kill(self) -> None:
        """The same at once and for good, from another thread than the one that asks."""
        self.closed = True
        for child in [*self.children]:
            child.kill()


def _start_worker() -> Child:
    root = Path(next(iter(backnorm.__path__))).parent
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-P", "-m", "backnorm.cli._worker"]
    return start_child(command, {"PYTHONPATH": os.pathsep.join(paths)})


def audit_job(
    crew: Crew, job: AuditJob, at_work: Callable[[Stage], object], seconds: float
) -> Iterator[Record]:
    """Yield the records of a job as they come; `at_work` is told what is begun."""
    progress = ModelProgress(job, seconds) if job.model else SubjectProgress(job, seconds)
    while not progress.over and not crew.closed:
        for message in crew.ask(job, progress.resumed, seconds):
            record = progress.after(message)
            if not {"lost", "record", "so_far"} & message.keys():
                at_work(progress.stage)
            if record is not None:
                yield record


def names_in_list(crew: Crew, framework: str, seconds: float) -> list[str]:
    """Return the names of the layers of a framework; none where it cannot be imported."""
    names: list[str] = []
    for message in crew.ask(AuditJob(framework, lists=True), {}, seconds):
        names = message.get("listed", names)
    return names
