"""A target in a process of its own: started, asked, given its time, and started anew when lost."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from backnorm.audit.subjects.from_specs import subjects_from
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from backnorm.audit.subject import Subject
    from backnorm.cli._child import Child, Ending

__all__ = ["Host", "Tongue", "lost_error"]

LEAST: Final = 0.05
"""Seconds that a call has at least, also where its subject has used up its time."""


class Tongue(Protocol):
    """How the process of a target is started and asked: as an interpreter, or as a program."""

    def start(self, target: str) -> Child:
        """Start the process."""

    def find(self, host: Host) -> list[dict[str, Any]]:
        """Ask a new process for the specs of its target, with their runners; tell versions."""

    def value(self, name: str, answer: Mapping[str, Any]) -> Any:
        """Return what an answer about a subject says, or raise what it says was raised."""

    def lost(
        self, name: str, answer: Mapping[str, Any], host: Host, message: Mapping[str, Any]
    ) -> SubjectError:
        """End a process that was lost in answering a message; return the error that says how."""

    def running(self, host: Host) -> set[tuple[str, int]]:
        """Return what runs in the process, or has been started by it."""

    def notes(self) -> list[str]:
        """Return what was found out about the process since this was last asked."""


@dataclass(slots=True, eq=False)
class Host:
    """A process that runs one target, and is started anew when it is lost.

    Attributes
    ----------
    tongue
        How it is started and asked.
    target
        What it runs, as the user wrote it.
    seconds
        How long a subject may take to be tried, and one of its probes.
    children
        The process that is at work, if any.
    told
        Versions of what the process has loaded.
    until
        When the time of what was begun is over.
    answered
        How many requests have been answered in it.
    """

    tongue: Tongue
    target: str
    seconds: float
    children: list[Child] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)
    until: float = 0.0
    answered: int = 0

    def begin(self) -> None:
        """Give the next subject or probe its time."""
        self.until, self.answered = time.monotonic() + self.seconds, 0

    def subjects(self, at_work: Callable[[str], object]) -> tuple[Subject, ...]:
        """Return the target's subjects.

        Parameters
        ----------
        at_work
            Called with the name of each before it is tried.

        Returns
        -------
        tuple of Subject
            Whose runners call this process.

        Raises
        ------
        SubjectError
            If the target is not there, or nothing that can be audited.
        """

        def begin(name: str) -> None:
            self.begin()
            at_work(name)

        begin(self.target)
        return subjects_from(self._find(), begin)

    def call(self, name: str, message: Mapping[str, Any]) -> Any:
        """Ask something about a subject, starting the process if need be."""
        return self.call_all(name, [message])[0]

    def call_all(self, name: str, messages: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Ask several things that do not depend on each other, without waiting in between.

        Of those that fail, the first raises.
        """
        if not self.children:
            # Its time may have gone to what another mode of the subject did before.
            self.begin()
            self._find()
        answers = self.ask(name, messages)
        return [self.tongue.value(name, answer) for answer in answers]

    def ask(self, name: str, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Ask the process that is at work; return its answers as they are."""
        child = self.children[0]
        answers: list[dict[str, Any]] = []
        child.post(messages)
        for message in messages:
            answer = child.answer(max(self.until - time.monotonic(), LEAST))
            if "lost" in answer:
                error = self.tongue.lost(name, answer, self, message)
                self.children.clear()
                for earlier in answers:
                    self.tongue.value(name, earlier)
                raise error
            answers.append(answer)
            self.answered += 1
        return answers

    def running(self) -> tuple[int, set[tuple[str, int]]]:
        """Return the number of the process, and what runs there; nothing if it is gone."""
        if not self.children:
            return 0, set()
        try:
            found = self.tongue.running(self)
        except SubjectError:
            return 0, set()
        return self.children[0].process.pid, found

    def end(self) -> None:
        """End the process and all that it started."""
        while self.children:
            self.children.pop().end()

    def kill(self) -> None:
        """The same at once."""
        while self.children:
            self.children.pop().kill()

    def _find(self) -> list[dict[str, Any]]:
        self.children.append(self.tongue.start(self.target))
        return self.tongue.find(self)


def lost_error(name: str, why: str, ending: Ending, seconds: float) -> SubjectError:
    """Return the error of a subject whose process was lost.

    Parameters
    ----------
    name
        The subject.
    why
        "hung", "died", or "garbled" where it wrote to a pipe of the audit.
    ending
        How the process ended.
    seconds
        The time that it had.
    """
    if why == "hung":
        return SubjectError.hung(name, seconds, ending.others)
    if why == "garbled":
        return SubjectError.garbled(name, ending.others)
    return SubjectError.died(name, ending.how, ending.words, ending.others)
