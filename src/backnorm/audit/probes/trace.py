"""A layer led through a few training calls of different sizes, and the laws that its state follows.

State that is looked at is told by its name or by its law: anything else that a layer keeps, as for
its backward pass, is its own affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.measure.running_law import batch_statistics, fit_running
from backnorm.audit.probes.steps import as_step, draws_of, states
from backnorm.host.names import STATISTICS, state_role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.measure.running_law import Weighing
    from backnorm.audit.probes.case import Case
    from backnorm.audit.subjects.runner import Runner

__all__ = ["STEPS", "Trace", "traced"]

STEPS: Final = (4, 9, 2, 7, 3, 6)
"""Batch sizes of the steps: n/(n - 1) differs from step to step."""

FOLLOWED_KINDS: Final = ("batch", "instance")
"""Kinds whose layers keep running statistics, one for each channel."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What some training calls left.

    Attributes
    ----------
    runners
        Before all calls and after each.
    paths
        For each state array whose size does not change: its values then; shapes (K + 1, size).
    laws
        The law of each that changes and follows one.
    """

    runners: Sequence[Runner]
    paths: Mapping[str, Float64Array]
    laws: Mapping[str, Weighing]

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names of running statistics: by name, or since they follow the law of one."""
        return tuple(
            name for name in self.paths if state_role(name) in STATISTICS or name in self.laws
        )

    def named(self, role: str) -> tuple[str, ...]:
        """Names of the state with a role."""
        return tuple(name for name in self.paths if state_role(name) == role)

    def changes(self, name: str) -> bool:
        """Whether this state changed at all."""
        path = self.paths[name]
        return not np.array_equal(path[0], path[-1], equal_nan=True)

    def increments(self, name: str) -> Float64Array:
        """By how much a number went up in each step."""
        return np.diff(self.paths[name], axis=0)

    @property
    def count(self) -> int:
        """How many updates there were before the first step, as a counter says."""
        starts = [self.paths[name][0] for name in self.named("count") if self.changes(name)]
        return int(starts[0][0]) if starts and starts[0].size == 1 else 0


def traced(case: Case, *, backward: bool = True) -> Trace:
    """Lead a layer through the steps.

    Parameters
    ----------
    case
        What is audited.
    backward
        Whether each step has a backward pass.

    Returns
    -------
    Trace
        What was left.

    Raises
    ------
    SubjectError
        If a call raises.
    """
    draws = draws_of(case, "steps", STEPS)
    runners, kept = states(case, [as_step(one, backward=backward) for one in draws])
    paths = {name: path for name in kept[0] if (path := _path(kept, name)) is not None}
    bare = Trace(runners, paths, {})
    if case.subject.kind not in FOLLOWED_KINDS:
        return bare
    batches = [batch_statistics(case.subject.kind, one.geometry, one.x) for one in draws]
    laws = {
        name: law
        for name, path in paths.items()
        if _may_run(name, path, batches[0]["mean"].size)
        and (law := fit_running(path, batches, bare.count)) is not None
        and (law.runs or state_role(name) in STATISTICS)
    }
    return Trace(runners, paths, laws)


def _path(kept: Sequence[Mapping[str, AnyArray]], name: str) -> Float64Array | None:
    """Values of an array over all steps; None where it comes, goes, or changes its size."""
    if len({np.size(one[name]) if name in one else -1 for one in kept}) > 1:
        first, last = kept[0][name], kept[-1].get(name)
        if last is None or np.size(first) != 1:
            return None
        # A number that becomes an array with the first update, as 0.0 does.
        size = np.size(last)
        kept = [{name: np.broadcast_to(np.ravel(one[name]), size)} for one in kept if name in one]
    values = np.stack([np.ravel(np.asarray(one[name], dtype=np.float64)) for one in kept])
    return values if np.isfinite(values).all() else None


def _may_run(name: str, path: Float64Array, channels: int) -> bool:
    """Whether an array has a value for each channel; a lone number may be anything else."""
    return path.shape[1] == channels and (channels > 1 or state_role(name) in STATISTICS)
