"""Ranks that run one target together: processes of torch.distributed, or parts in one of JAX."""

from __future__ import annotations

import itertools
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from backnorm.audit.ranks.conduct import over_ranks
from backnorm.audit.ranks.probes import RankExamination
from backnorm.audit.ranks.world import RankAnswer, Stacked, answer_of, arguments_of
from backnorm.audit.thresholds import RANKS_PATIENCE
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from backnorm.audit.ranks.world import RankCall, RankGroup
    from backnorm.audit.record import Record
    from backnorm.audit.subject import Subject
    from backnorm.cli._child import Child
    from backnorm.cli._hosts import Host
    from backnorm.cli._remote import Interpreter

__all__ = ["Group", "OneRank", "record_over_ranks", "refused"]

LOOK: Final = 0.3
"""Seconds that one rank is listened to while others may answer."""

RANKED: Final = "PyTorch, Flax, Haiku, Equinox or JAX"
"""What runs on ranks."""

LARGEST: Final = 1e9
"""Seconds: a group gives up no earlier than the audit does, and no limit is larger."""

_MEETINGS: Final = itertools.count()


def refused(subject: Subject) -> SubjectError | None:
    """Return the error of what runs neither in a group of PyTorch's processes nor in JAX's axes."""
    if not {"threads", "parts"} & subject.runner.can:
        return SubjectError.no_ranks(subject.name, f"not a layer or function of {RANKED}")
    if subject.kind != "batch":
        return SubjectError.no_ranks(subject.name, f"of kind {subject.kind}")
    return None


def record_over_ranks(
    subject: Subject,
    record: Record,
    ranks: int,
    make: Callable[[int, Callable[[], object]], RankGroup],
    at_work: Callable[[str], object],
) -> Record:
    """Add to the record of one process what several find.

    Parameters
    ----------
    subject, record
        What was audited in one process, and the verdict there.
    ranks
        How many processes.
    make
        Makes a group of so many ranks, which calls a function before anything is asked.
    at_work
        Called with the name of a probe when it begins, and before it asks anything.
    """
    named = [""]

    def begin(name: str = "") -> None:
        named[0] = name or named[0]
        at_work(named[0])

    one, several = (_group(subject, count, make, begin) for count in (1, ranks))
    try:
        examination = RankExamination(subject, ranks, one, several, seed=0)
        return deque(over_ranks(examination, record, begin), maxlen=1)[0]
    finally:
        one.end()
        several.end()


def _group(
    subject: Subject,
    ranks: int,
    make: Callable[[int, Callable[[], object]], RankGroup],
    begin: Callable[[], object],
) -> RankGroup:
    return Stacked(subject, begin) if "parts" in subject.runner.can else make(ranks, begin)


def _meeting(ranks: int, rank: int, place: str, seconds: float) -> dict[str, Any]:
    wait = min(4 * max(seconds, float(RANKS_PATIENCE)), LARGEST)
    return {"do": "meet", "rank": rank, "ranks": ranks, "place": place, "seconds": wait}


def _place(folder: str) -> str:
    """Return the name of a file in which no group has met."""
    return str(Path(folder) / f"meeting-{next(_MEETINGS)}")


@dataclass(slots=True)
class OneRank:
    """How a process is asked that is a group by itself: as an interpreter, once it is in its group.

    Many layers raise where there is no group.

    Attributes
    ----------
    inner
        How the interpreter is asked.
    folder
        Where groups meet.
    """

    inner: Interpreter
    folder: str

    def start(self, target: str) -> Child:
        """Start the process."""
        return self.inner.start(target)

    def find(self, host: Host) -> list[dict[str, Any]]:
        """Make the group, and ask for the specs of the target."""
        answer = host.ask(host.target, [_meeting(1, 0, _place(self.folder), host.seconds)])[0]
        self.inner.value(host.target, answer)
        return self.inner.find(host)

    def value(self, name: str, answer: Mapping[str, Any]) -> Any:
        """Return what was asked for, or raise what was raised there."""
        return self.inner.value(name, answer)

    def lost(
        self, name: str, answer: Mapping[str, Any], host: Host, message: Mapping[str, Any]
    ) -> SubjectError:
        """End a process that was lost; return the error that says how."""
        return self.inner.lost(name, answer, host, message)

    def running(self, host: Host) -> set[tuple[str, int]]:
        """Return what it says that runs there."""
        return self.inner.running(host)

    def notes(self) -> list[str]:
        """Return nothing."""
        return self.inner.notes()


@dataclass(slots=True, eq=False)
class Group:
    """So many processes that call one subject together; they are started anew when one is lost.

    Attributes
    ----------
    ranks
        How many.
    tongue
        How each is started and asked.
    target
        What they run.
    subject
        What the audit has found there.
    seconds
        How long a call may take, where no rank answers.
    folder
        Where groups meet.
    begin
        Called before anything is asked.
    children
        The processes, if they are at work.
    place
        The number of the subject's runner among those of the target.
    """

    ranks: int
    tongue: Interpreter
    target: str
    subject: Subject
    seconds: float
    folder: str
    begin: Callable[[], object]
    children: list[Child] = field(default_factory=list)
    place: int = 0

    def call(self, parts: Sequence[RankCall], form: str = "") -> list[RankAnswer]:
        """Have each rank call the subject with its part."""
        if not self.children:
            self._start()
        ways = [arguments_of(part, form, self.subject.runner.moved) for part in parts]
        has_mask = parts[0].mask is not None
        ran = self._ask([self._message("masked" if has_mask else "run", way) for way in ways])
        if has_mask or any(one.failed for one in ran):
            return ran
        steps = [[[*way, True]] for way in ways]
        after = self._values([self._message("after", [one]) for one in steps])
        states = self._values([{**self._message("state", []), "runner": n} for n in after])
        return [one._replace(state=state) for one, state in zip(ran, states, strict=True)]

    @property
    def alike(self) -> bool:
        """Processes may have parts of any shapes."""
        return False

    def end(self) -> None:
        """End all processes."""
        while self.children:
            self.children.pop().kill()

    def _start(self) -> None:
        place = _place(self.folder)
        self.children = [self.tongue.start(self.target) for _ in range(self.ranks)]
        asked = self.tongue.asked.to_dict()
        question = {"do": "find", "target": self.target, "asked": asked}
        question["near"] = list(self.tongue.near)
        # A layer may look for its group when it is made.
        self._values([_meeting(self.ranks, r, place, self.seconds) for r in range(self.ranks)])
        found = self._values([question] * self.ranks)[0]
        names = [spec["name"] for spec in found["specs"]]
        self.place = names.index(self.subject.name) if self.subject.name in names else 0

    def _message(self, operation: str, arguments: Sequence[Any]) -> dict[str, Any]:
        call = {"do": "call", "runner": self.place, "operation": operation}
        return {**call, "arguments": list(arguments)}

    def _values(self, messages: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Ask each rank for what must succeed; raise what went wrong otherwise."""
        values = []
        for answer in self._answers(messages, self.seconds):
            if answer is None:
                raise SubjectError.hung(self.subject.name, self.seconds, 0)
            values.append(self.tongue.value(self.subject.name, answer))
        return values

    def _ask(self, messages: Sequence[Mapping[str, Any]]) -> list[RankAnswer]:
        return [self._read(answer) for answer in self._answers(messages, float(RANKS_PATIENCE))]

    def _read(self, answer: Mapping[str, Any] | None) -> RankAnswer:
        if answer is None:
            return RankAnswer(hung=True)
        if "value" not in answer:
            return RankAnswer(raised=_words(answer))
        return answer_of(answer["value"], self.subject.runner.moved)

    def _answers(
        self, messages: Sequence[Mapping[str, Any]], patience: float
    ) -> list[Mapping[str, Any] | None]:
        """Ask each rank; None for one that had not answered so long after the others.

        Where a rank was lost or has raised, so that the others may be out of step, all are ended.
        """
        self.begin()
        for child, message in zip(self.children, messages, strict=True):
            child.post([message])
        answers: list[Mapping[str, Any] | None] = [None] * len(messages)
        for rank, answer in self._as_they_come(patience):
            answers[rank] = answer
        if any(answer is None or "value" not in answer for answer in answers):
            self.end()
        return answers

    def _as_they_come(self, patience: float) -> Iterator[tuple[int, Mapping[str, Any]]]:
        waiting = dict(enumerate(self.children))
        until = time.monotonic() + self.seconds
        while waiting and time.monotonic() < until:
            for rank, child in list(waiting.items()):
                answer = child.answer(LOOK)
                if answer.get("lost") == "hung":
                    continue
                del waiting[rank]
                until = min(until, time.monotonic() + patience)
                if answer.get("lost") == "died":
                    answer = {"lost": child.end().how}
                yield rank, answer


def _words(answer: Mapping[str, Any]) -> str:
    """Say what a rank raised, or how it ended."""
    if "raised" in answer:
        name, words, *_ = answer["raised"]
        return f"{name}: {str(words).splitlines()[0] if words else ''}"
    if "lost" in answer:
        return f"nothing: its process ended with {answer['lost']}"
    return "nothing that can be read"
