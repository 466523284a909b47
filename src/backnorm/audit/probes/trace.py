"""A layer after a few training steps of different sizes, and the laws that its state follows.

Running statistics are recognized by name or by law. Anything else that a layer stores, such as
arrays for its backward pass, is not judged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.measure.running_law import batch_statistics, fit_running_law
from backnorm.audit.probes.steps import as_step, drawn_inputs, states
from backnorm.host.names import STATISTICS, state_role

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.measure.running_law import RunningLaw
    from backnorm.audit.probes.examination import Examination
    from backnorm.audit.subjects.runner import Runner

__all__ = ["STEPS", "StepTrace", "faults_of", "trace_steps"]

STEPS: Final = (4, 9, 2, 7, 3, 6)
"""Batch sizes of the steps: n/(n - 1) differs from step to step."""

FOLLOWED_KINDS: Final = ("batch", "instance")
"""Kinds whose layers keep running statistics, one for each channel."""


@dataclass(frozen=True, slots=True, eq=False)
class StepTrace:
    """The state of a layer over some training steps.

    Attributes
    ----------
    runners
        Before the first step and after each.
    paths
        The values of each state array whose size does not change; shapes (K + 1, size).
    laws
        The laws of the arrays that change and follow a known law.
    spoilt
        Running statistics that became NaN, infinite or negative, each in a few words.
    """

    runners: Sequence[Runner]
    paths: Mapping[str, Float64Array]
    laws: Mapping[str, RunningLaw]
    spoilt: tuple[str, ...] = ()

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names of the running statistics, recognized by name or by law."""
        return tuple(
            name for name in self.paths if state_role(name) in STATISTICS or name in self.laws
        )

    def named(self, role: str) -> tuple[str, ...]:
        """Names of the state arrays with a role."""
        return tuple(name for name in self.paths if state_role(name) == role)

    def changes(self, name: str) -> bool:
        """Whether a state array changed at all."""
        path = self.paths[name]
        return not np.array_equal(path[0], path[-1], equal_nan=True)

    def increments(self, name: str) -> Float64Array:
        """Return by how much a state array increased in each step."""
        return np.diff(self.paths[name], axis=0)

    @property
    def count(self) -> int:
        """How many updates there were before the first step, by the layer's counter."""
        starts = [self.paths[name][0] for name in self.named("count") if self.changes(name)]
        return int(starts[0][0]) if starts and starts[0].size == 1 else 0


def trace_steps(examination: Examination, *, backward: bool = True) -> StepTrace:
    """Call a layer with the steps.

    Parameters
    ----------
    examination
        What is audited.
    backward
        Whether each step has a backward pass.

    Returns
    -------
    StepTrace
        The state over the steps.

    Raises
    ------
    SubjectError
        If a call raises.
    """
    kind, drawn = examination.subject.kind, drawn_inputs(examination, "steps", STEPS)
    steps = [as_step(inputs, backward=backward) for inputs in drawn]
    runners, history = states(examination, steps)
    paths = {name: path for name in history[0] if (path := _path(history, name)) is not None}
    bare = StepTrace(runners, paths, {}, tuple(_spoilt(history)))
    if kind not in FOLLOWED_KINDS:
        return bare
    batches = [batch_statistics(kind, inputs.geometry, inputs.x) for inputs in drawn]
    laws = {
        name: law
        for name, path in paths.items()
        if _may_run(name, path, batches[0]["mean"].size)
        and (law := fit_running_law(path, batches, bare.count)) is not None
        and (law.runs or state_role(name) in STATISTICS)
    }
    return replace(bare, laws=laws)


def faults_of(state: Mapping[str, AnyArray]) -> dict[str, str]:
    """Return what no running statistic may be, by the names of those that are."""
    found = {}
    for name, value in state.items():
        role = state_role(name)
        if role in STATISTICS and not np.isfinite(value).all():
            found[name] = "NaN or infinite"
        elif role == "running_var" and (value < 0).any():
            found[name] = "negative"
    return found


def _spoilt(history: Sequence[Mapping[str, AnyArray]]) -> Iterator[str]:
    """Yield when which statistic first became what it may not be."""
    known: set[str] = set()
    for calls, state in enumerate(history):
        for name, fault in faults_of(state).items():
            if name not in known and calls:
                yield f"{name} is {fault} after {calls} training call{'s' if calls > 1 else ''}"
            known.add(name)


def _path(history: Sequence[Mapping[str, AnyArray]], name: str) -> Float64Array | None:
    """Return the values of an array over all steps; None if it is lost or changes its size.

    Only the first update may change the size: then a number becomes an array, as 0.0 does.
    """
    values = [np.ravel(state[name]) for state in history if name in state]
    first, *later = (array.size for array in values)
    if len(values) < len(history) or len({*later}) > 1 or first not in (1, *later):
        return None
    values = [np.broadcast_to(array, values[-1].size) for array in values]
    path = np.stack([np.asarray(array, dtype=np.float64) for array in values])
    return path if np.isfinite(path).all() else None


def _may_run(name: str, path: Float64Array, channels: int) -> bool:
    """Whether an array has a value for each channel; a single number may be anything."""
    return path.shape[1] == channels and (channels > 1 or state_role(name) in STATISTICS)
