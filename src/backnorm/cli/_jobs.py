"""Targets as jobs for child processes: one by one, and the layers of a list side by side."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from backnorm.audit.thresholds import HANG_SECONDS
from backnorm.cli._crew import Crew, audit_job
from backnorm.cli._progress import AuditJob, Stage
from backnorm.cli._remote import installed
from backnorm.cli._side_by_side import Crews
from backnorm.host.calls import calls_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from backnorm.audit.record import Record

__all__ = ["AuditJob", "Stage", "audit_jobs"]


def audit_jobs(
    jobs: Sequence[AuditJob],
    at_work: Callable[[Stage], object] = lambda _: None,
    *,
    seconds: float = HANG_SECONDS,
    environment: dict[str, str] | None = None,
    workers: int = 1,
) -> Iterator[Record]:
    """Audit targets in child processes.

    Parameters
    ----------
    jobs
        The targets.
    at_work
        Called with what is begun, in the thread of the caller.
    seconds
        How long the gradient of a subject, or one of its probes, may take.
    environment
        Filled with the versions in other interpreters, as they tell them.
    workers
        How many child processes share the list of a framework. Other targets have one.

    Yields
    ------
    Record
        One for each subject, in order, whatever the number of processes. A subject that hangs, or
        ends the child, before its gradient is judged gets a record that says so. If it does so in a
        later probe, its record says so among what else is known of it. A layer of a model that does
        so has such a record too. A new child goes on with what comes next.
    """
    crews = Crews([Crew() for _ in range(workers)])
    try:
        for job in jobs:
            for one in [job] if job.model else _on_each_backend(job, seconds):
                parts = crews.parts_of(one, seconds)
                if parts:
                    yield from crews.audit(parts, at_work, seconds)
                else:
                    yield from audit_job(crews.first, one, at_work, seconds)
    finally:
        crews.dismiss()
        if environment is not None:
            environment.update(crews.told)


def _on_each_backend(job: AuditJob, seconds: float) -> list[AuditJob]:
    """Make a job for each backend of a framework that has several, and one a process."""
    calls = calls_of(job.target)
    if job.program or not hasattr(calls, "BACKENDS") or calls.VARIABLE in os.environ:
        return [job]
    there = installed(job.python or sys.executable, [job.target, *calls.BACKENDS], seconds)
    backends = [name for name in calls.BACKENDS if name in there and job.target in there]
    jobs = [replace(job, environment={calls.VARIABLE: name}) for name in backends]
    return jobs or [job]
