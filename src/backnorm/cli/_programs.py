"""A target that is a program of any language: asked by the program protocol."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from backnorm.audit.subject import named_error
from backnorm.cli._child import UNENDED, start_child
from backnorm.cli._facts import read_facts, refuse_other_words
from backnorm.cli._program_runner import ProgramRunner
from backnorm.errors import ProgramError
from backnorm.errors.programs import FailedRequest
from backnorm.host import launch
from backnorm.host.lines import LineWire, header_of
from backnorm.host.watch import descendants

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.audit.subjects.request import AuditRequest
    from backnorm.cli._child import Child
    from backnorm.cli._hosts import Host

__all__ = ["Program"]

HELLO: Final = {"line": "hello 1", "arrays": {}}

CHANNELS_LAST: Final = (
    "Its channels were taken to be the last axis of x, since params is the last length of sample."
)

DEATHS: Final = 3
"""How many deaths the notes of a record name."""


@dataclass(slots=True, eq=False)
class Program:
    """How a program is asked: a request is a line with arrays, and so is its answer.

    Attributes
    ----------
    command
        The program and its arguments.
    asked
        What is asked of the target.
    noise
        What it wrote before its first answer, line by line.
    unknown
        Words of its answer to hello that mean nothing.
    last
        Whether its channels were taken to be the last axis.
    deaths
        How it ended in place of answers, since the notes were last asked for.
    words
        Its answer to hello; empty before it was asked.
    in_order
        Whether its answers to several requests were seen to come in their order.
    """

    command: tuple[str, ...]
    asked: AuditRequest
    noise: list[str] = field(default_factory=list)
    unknown: tuple[str, ...] = ()
    last: bool = False
    deaths: list[str] = field(default_factory=list)
    words: dict[str, str | None] = field(default_factory=dict)
    in_order: bool = False

    def start(self, target: str) -> Child:
        """Start the program, under a supervisor."""
        del target
        command = [sys.executable, "-I", "-S", launch.__file__, *self.command]
        return start_child(command, {}, LineWire())

    def find(self, host: Host) -> list[dict[str, Any]]:
        """Ask it for its facts; return a spec for each mode."""
        child = host.children[0]
        answer = host.ask(host.target, [HELLO])[0]
        wire = _wire_of(child)
        if "error" in answer:
            raise ProgramError.refused(host.target, answer["error"], wire.noise)
        if self.words:
            refuse_other_words(host.target, answer["words"], self.words)
        self.words = dict(answer["words"])
        facts = read_facts(host.target, answer, self.asked)
        self.noise, self.unknown, self.last = list(wire.noise), facts.unknown, facts.last
        name, version = str(facts.spec["name"]), str(facts.spec["version"])
        host.told = {name: version} if version else {}
        modes = ("train", "eval") if self.asked.modes == "both" else (self.asked.modes,)
        made = [ProgramRunner(host, self, name, mode, facts, facts.state) for mode in modes]
        return [{**facts.spec, "call": one.mode, "can": facts.can, "runner": one} for one in made]

    def value(self, name: str, answer: Mapping[str, Any]) -> Any:
        """Return the arrays of an answer, or raise what it says."""
        del name
        if "error" in answer:
            error = named_error("error", answer["error"], "", answered=True)
            raise error
        return answer["arrays"]

    def lost(
        self, name: str, answer: Mapping[str, Any], host: Host, message: Mapping[str, Any]
    ) -> ProgramError:
        """End a program that did not answer; return the error that says how."""
        child, line = host.children[0], header_of(message["line"], message["arrays"])
        partial = _wire_of(child).partial
        ending = child.lost(answer)
        if launch.UNSTARTED in ending.words:
            return ProgramError.not_started(name, ending.words.partition(launch.UNSTARTED)[2])
        request = FailedRequest(line, partial, ending.others, host.answered)
        if answer["lost"] == "hung":
            return ProgramError.late(name, host.seconds, request)
        if answer["lost"] == "garbled":
            return ProgramError.out_of_step(name, answer["what"], request)
        how = ending.how if ending.how != UNENDED else ""
        self.deaths.append(f"{how or 'a closed stdout'} in place of an answer to `{line}`")
        return ProgramError.ended(name, how, ending.words, request)

    def refuse_surplus(self, name: str, host: Host, message: Mapping[str, Any]) -> None:
        """End a program that has written more than its answers, and raise ProgramError."""
        child = host.children[0]
        if what := child.ahead or _wire_of(child).beyond:
            line = header_of(message["line"], message["arrays"])
            others = host.children.pop().kill().others
            raise ProgramError.surplus(name, what, FailedRequest(line, others=others))

    def running(self, host: Host) -> set[tuple[str, int]]:
        """Return its processes: those below the supervisor."""
        return {("process", pid) for pid in descendants(host.children[0].process.pid)}

    def notes(self) -> list[str]:
        """Return what it printed, which words nobody knows, and how it ended meanwhile."""
        notes = []
        if self.noise:
            count = f"{len(self.noise)} line{'s' * (len(self.noise) > 1)}"
            first = next(filter(None, map(str.strip, self.noise)), "")[:60]
            notes.append(f"It wrote {count} to stdout before its first answer, skipped: {first}")
        if self.unknown:
            listed = " ".join(self.unknown)
            notes.append(f"Its answer to hello has words that mean nothing here: {listed}.")
        if self.last:
            notes.append(CHANNELS_LAST)
        different = list(dict.fromkeys(self.deaths))
        notes += [f"It ended with {how}; it was started again." for how in different[:DEATHS]]
        if len(different) > DEATHS:
            notes.append(f"It ended in place of {len(different) - DEATHS} other answers too.")
        self.deaths.clear()
        return notes


def _wire_of(child: Child) -> LineWire:
    assert isinstance(child.wire, LineWire)  # noqa: S101 - as it was started
    return child.wire
