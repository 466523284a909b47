"""A target in another interpreter: its runners here, and the process in which they call it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from backnorm.audit.subject import named_error
from backnorm.audit.subjects.from_specs import subjects_from
from backnorm.audit.subjects.no_subject import no_subject
from backnorm.cli._child import Child, start_child
from backnorm.errors import SubjectError
from backnorm.host import serve
from backnorm.host.pairs import NotReturned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from backnorm.audit.subject import Subject
    from backnorm.audit.subjects.request import AuditRequest
    from backnorm.cli._child import Ending

__all__ = ["Host", "installed", "lost_error"]

LEAST: Final = 0.05
"""Seconds that a call has at least, also where its subject has used up its time."""


@dataclass(slots=True, eq=False)
class Host:
    """A process that runs one target, and is started anew when it is lost.

    Attributes
    ----------
    python
        The interpreter.
    environment
        Environment variables that it gets.
    target
        What it runs, as the user wrote it.
    asked
        What is asked of the target.
    near
        Words that are targets too, for the advice where a target does not exist.
    seconds
        How long a subject may take to be tried, and one of its probes.
    children
        The process that is at work, if any.
    told
        Versions of what the process has loaded.
    until
        When the time of what was begun is over.
    """

    python: str
    environment: Mapping[str, str]
    target: str
    asked: AuditRequest
    near: tuple[str, ...]
    seconds: float
    children: list[Child] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)
    until: float = 0.0

    def begin(self) -> None:
        """Give the next subject or probe its time."""
        self.until = time.monotonic() + self.seconds

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
        made = self._find()
        specs = [
            {**spec, "runner": RemoteRunner(self, place, spec["name"])}
            for place, spec in enumerate(made)
        ]
        return subjects_from(specs, begin)

    def call(self, name: str, message: Mapping[str, Any]) -> Any:
        """Ask something about a subject, starting the process if need be."""
        if not self.children:
            self._find()
        return self._ask(name, message)

    def running(self) -> tuple[int, set[tuple[str, int]]]:
        """Return the number of the process, and what runs there; nothing if it is gone."""
        if not self.children:
            return 0, set()
        try:
            found = self._ask(self.target, {"do": "running"})
        except SubjectError:
            return 0, set()
        return self.children[0].process.pid, {(str(what), number) for what, number in found}

    def end(self) -> None:
        """End the process and all that it started."""
        while self.children:
            self.children.pop().end()

    def kill(self) -> None:
        """The same at once."""
        while self.children:
            self.children.pop().kill()

    def _find(self) -> list[dict[str, Any]]:
        self.children.append(_start(self.target, self.python, self.environment))
        asked = self.asked.to_dict()
        question = {"do": "find", "target": self.target, "asked": asked, "near": list(self.near)}
        found = self._ask(self.target, question)
        self.told = found["environment"]
        made: list[dict[str, Any]] = found["specs"]
        return made

    def _ask(self, name: str, message: Mapping[str, Any]) -> Any:
        child = self.children[0]
        child.send(message)
        answer = child.answer(max(self.until - time.monotonic(), LEAST))
        if "lost" in answer:
            self.children.clear()
            raise lost_error(name, answer["lost"], child.lost(answer), self.seconds)
        return _value(name, answer, self.python)


@dataclass(slots=True, eq=False)
class RemoteRunner:
    """A runner in another process; see `backnorm.host.runners` for its operations.

    Attributes
    ----------
    host
        The process.
    place
        The runner's number there.
    name
        What messages call the subject.
    losses
        How the process was lost, where the subject has taken it along: until `restart` neither this
        runner nor one that came of it is called again.
    """

    host: Host
    place: int
    name: str
    losses: list[SubjectError] = field(default_factory=list)

    @property
    def lost(self) -> SubjectError | None:
        """How the process was lost; None as long as it is there."""
        return self.losses[0] if self.losses else None

    def restart(self) -> None:
        """Let the next call start a new process, if this one was lost."""
        self.losses.clear()

    def forward(self, *arguments: Any) -> Any:
        """Return y."""
        return self._call("forward", arguments)

    def run(self, *arguments: Any) -> Any:
        """Return y and the gradients."""
        return self._call("run", arguments)

    def higher(self, *arguments: Any) -> Any:
        """Return the last of the gradients of the gradient."""
        return self._call("higher", arguments)

    def state(self) -> Any:
        """Return the state that calls start from."""
        return self._call("state", ())

    def given(self) -> Any:
        """Return the state that the object came with."""
        return self._call("given", ())

    def traces(self, *arguments: Any) -> Any:
        """Return what a call leaves behind."""
        return self._call("traces", arguments)

    def overlapped(self, *arguments: Any) -> Any:
        """Return y and the gradients of a call that another forward pass comes between."""
        return self._call("overlapped", arguments)

    def others(self, *arguments: Any) -> Any:
        """Return y, and the values and gradients of the parameters beside gamma and beta."""
        return self._call("others", arguments)

    def attached(self) -> Any:
        """Return the names of what holds a graph."""
        return self._call("attached", ())

    def after(self, *arguments: Any) -> RemoteRunner:
        """Return the runner after some calls."""
        return replace(self, place=self._call("after", arguments))

    def variant(self, *arguments: Any) -> RemoteRunner:
        """Return a runner that calls in another way."""
        return replace(self, place=self._call("variant", arguments))

    def _call(self, operation: str, arguments: Sequence[Any]) -> Any:
        if self.losses:
            raise self.losses[0]
        message = {
            "do": "call",
            "runner": self.place,
            "operation": operation,
            "arguments": list(arguments),
        }
        try:
            return self.host.call(self.name, message)
        except SubjectError as error:
            self.losses.append(error)
            raise


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


def installed(python: str, names: Sequence[str], seconds: float) -> tuple[str, ...]:
    """Return which of some packages an interpreter has, without importing them."""
    try:
        child = _start(python, python, {})
    except SubjectError:
        return ()
    try:
        child.send({"do": "installed", "names": list(names)})
        answer = child.answer(seconds)
        return tuple(answer.get("value", ()))
    finally:
        child.kill()


def _start(target: str, python: str, environment: Mapping[str, str]) -> Child:
    try:
        return start_child([python, serve.__file__], environment)
    except OSError as error:
        raise SubjectError.not_importable(target, f"{python}: {error.strerror}", ()) from error


def _value(name: str, answer: Mapping[str, Any], python: str) -> Any:
    """Return what was asked for, or raise what was raised there."""
    if "no_subject" in answer:
        why, told = answer["no_subject"]
        raise no_subject(name, why, told, python)
    if "not_returned" in answer:
        raise NotReturned(*answer["not_returned"])
    if "raised" in answer:
        raise named_error(*answer["raised"])
    return answer["value"]
