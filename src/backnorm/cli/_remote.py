"""A target in another interpreter: its runners here, and the process in which they call it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from backnorm.audit.subject import named_error
from backnorm.audit.subjects.no_subject import no_subject
from backnorm.cli._child import start_child
from backnorm.cli._hosts import Host, lost_error
from backnorm.errors import SubjectError
from backnorm.host import serve
from backnorm.host.pairs import NotReturned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm.audit.subjects.request import AuditRequest
    from backnorm.cli._child import Child

__all__ = ["Interpreter", "RemoteRunner", "installed"]


@dataclass(frozen=True, slots=True)
class Interpreter:
    """How a process is asked that runs `backnorm.host.serve` under an interpreter.

    Attributes
    ----------
    python
        The interpreter.
    environment
        Environment variables that it gets.
    asked
        What is asked of the target.
    near
        Words that are targets too, for the advice where a target does not exist.
    """

    python: str
    environment: Mapping[str, str]
    asked: AuditRequest
    near: tuple[str, ...]

    def start(self, target: str) -> Child:
        """Start the process."""
        return _start(target, self.python, self.environment)

    def find(self, host: Host) -> list[dict[str, Any]]:
        """Ask it for the specs of its target."""
        question = {
            "do": "find",
            "target": host.target,
            "asked": self.asked.to_dict(),
            "near": list(self.near),
        }
        found = self.value(host.target, host.ask(host.target, [question])[0])
        host.told = found["environment"]
        return [
            {**spec, "runner": RemoteRunner(host, place, spec["name"])}
            for place, spec in enumerate(found["specs"])
        ]

    def value(self, name: str, answer: Mapping[str, Any]) -> Any:
        """Return what was asked for, or raise what was raised there."""
        if "no_subject" in answer:
            why, told = answer["no_subject"]
            raise no_subject(name, why, told, self.python)
        if "not_returned" in answer:
            raise NotReturned(*answer["not_returned"])
        if "raised" in answer:
            raise named_error(*answer["raised"])
        return answer["value"]

    def lost(
        self, name: str, answer: Mapping[str, Any], host: Host, message: Mapping[str, Any]
    ) -> SubjectError:
        """End a process that was lost; return the error that says how."""
        del message
        return lost_error(name, answer["lost"], host.children[0].lost(answer), host.seconds)

    def running(self, host: Host) -> set[tuple[str, int]]:
        """Return what it says that runs there."""
        found = self.value(host.target, host.ask(host.target, [{"do": "running"}])[0])
        return {(str(what), number) for what, number in found}

    def notes(self) -> list[str]:
        """Return nothing: what is found out there is in its answers."""
        return []


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

    def apart(self, *arguments: Any) -> Any:
        """Return what each part of a batch gave."""
        return self._call("apart", arguments)

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
