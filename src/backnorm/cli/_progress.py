"""Jobs, and how far the work on one has come, by the messages of the child that does it."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from backnorm.audit.conduct import GRADIENT
from backnorm.audit.findings import fault
from backnorm.audit.probes import with_lost, without_the_others
from backnorm.audit.record import Record
from backnorm.cli._hosts import lost_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.audit.kinds import Kind
    from backnorm.audit.subjects.request import Modes

__all__ = ["AuditJob", "ModelProgress", "Stage", "SubjectProgress"]

WRONG = frozenset({"M04", "M05"})
"""Findings which say that the dx of a layer is wrong: modules around it need no record then."""


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
    program
        The words of a command that speaks the program protocol; empty for other targets.
    lists
        Whether to ask for the names of the layers of a framework in place of an audit.
    place, part
        Which layer of a framework's list is meant, and its name; None and empty for all of them.
    device
        Where its arrays are made, such as cuda; empty for where its framework makes them.
    ranks
        In how many processes the target is run, too; 0 for one alone.
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
    program: tuple[str, ...] = ()
    lists: bool = False
    place: int | None = None
    part: str = ""
    device: str = ""
    ranks: int = 0

    @property
    def name(self) -> str:
        """What it is about, while the names of its subjects are not known."""
        return self.part or self.target


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
        Subjects of this job that are done, and all of them; total is 0 while it is not known. Of a
        model its layers, of which not all are called.
    """

    name: str
    probe: str = ""
    done: int = 0
    total: int = 0


@dataclass(slots=True)
class SubjectProgress:
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
    def resumed(self) -> dict[str, Any]:
        """What a child must know of what is done."""
        known = None if self.known is None else self.known.to_dict()
        return {"skip": self.done, "known": known}

    @property
    def stage(self) -> Stage:
        """What is at work, for whoever waits."""
        return Stage(self.name or self.job.name, self.probe, self.done, len(self.names))

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
        if self.known is None or self.job.ranks:
            return self._done(Record(name, kind, findings=(fault(error),), audited=False))
        if self.probe in ("", GRADIENT):
            why = f"the gradient could not be measured again: {error.problem}"
            return self._done(without_the_others(self.known, why))
        self.known = with_lost(self.known, self.probe, error, monotonic() - self.since)
        return None

    def _at_work(self) -> tuple[str, Kind]:
        if self.done < len(self.names):
            return self.names[self.done]
        return self.job.name, self.job.kind or "batch"


@dataclass(slots=True)
class ModelProgress:
    """How far the audit of a model has come, by the messages about it.

    A child that is lost while a layer is measured costs the record of that layer. A child that is
    lost in the pass of the model is followed by one that cuts the pass after the last call of a
    layer that came back, and measures the layers up to there.

    Attributes
    ----------
    job, seconds
        The job, and the longest time between two messages.
    done
        Names of the layers that have a record, and whether it says that dx is wrong.
    name
        What is at work: a layer, or the model.
    place
        How many layers of the model are before it, and how many the model has.
    measures
        Whether a layer is measured; otherwise the model is made, or its pass runs.
    calls
        How many calls of layers came back in the pass.
    most
        After how many calls the pass is cut; None for the whole pass.
    over
        Whether the job is done.
    """

    job: AuditJob
    seconds: float
    done: dict[str, bool] = field(default_factory=dict)
    name: str = ""
    place: tuple[int, int] = (0, 0)
    measures: bool = False
    calls: int = 0
    most: int | None = None
    over: bool = False

    @property
    def resumed(self) -> dict[str, Any]:
        """What a child must know of what is done."""
        return {"done": self.done, "most": self.most}

    @property
    def stage(self) -> Stage:
        """What is at work, for whoever waits."""
        return Stage(self.name or self.job.target, "", *self.place)

    def after(self, message: Mapping[str, Any]) -> Record | None:
        """Take a message in; return the record of a layer if there is one."""
        if "lost" in message:
            return self._lost(message)
        self.name = message.get("starting", self.name)
        self.calls = message.get("calls", self.calls)
        self.measures = message.get("measuring", self.measures)
        self.place = tuple(message.get("place", self.place))
        self.over = "done" in message
        return self._done(Record.from_dict(message["record"])) if "record" in message else None

    def _done(self, record: Record) -> Record:
        self.done[record.target] = bool(WRONG & {found.code for found in record.findings})
        return record

    def _lost(self, message: Mapping[str, Any]) -> Record | None:
        """Return the record of what lost the child, once; choose what the next one does."""
        name = self.name or self.job.target
        if not self.measures:
            # Where another pass was lost before the cut, what is called differs from pass to pass.
            self.most = self.calls if self.most is None else min(self.calls, self.most - 1)
        self.over = self.most == 0 or name in self.done
        self.name, self.measures, self.calls = "", False, 0
        if name in self.done:
            return None
        error = lost_error(name, message["lost"], message["ending"], self.seconds)
        kind = self.job.kind or "batch"
        return self._done(Record(name, kind, findings=(fault(error),), audited=False))
