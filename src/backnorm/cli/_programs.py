"""A target that is a program of any language: asked by the program protocol, and its runner."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backnorm.audit.subject import named_error
from backnorm.cli._child import UNENDED, start_child
from backnorm.cli._facts import STATE, read_facts
from backnorm.errors import ProgramError
from backnorm.errors.programs import FailedRequest
from backnorm.host import launch
from backnorm.host.lines import LineWire, header_of, swapped
from backnorm.host.watch import descendants

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.audit.subjects.request import AuditRequest
    from backnorm.audit.subjects.runner import Step
    from backnorm.cli._child import Child
    from backnorm.cli._facts import Facts
    from backnorm.cli._hosts import Host

__all__ = ["Program", "ProgramRunner"]

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
    """

    command: tuple[str, ...]
    asked: AuditRequest
    noise: list[str] = field(default_factory=list)
    unknown: tuple[str, ...] = ()
    last: bool = False
    deaths: list[str] = field(default_factory=list)

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
        facts = read_facts(host.target, answer, self.asked)
        self.noise, self.unknown, self.last = list(wire.noise), facts.unknown, facts.last
        name, version = str(facts.spec["name"]), str(facts.spec["version"])
        host.told = {name: version} if version else {}
        modes = ("train", "eval") if self.asked.modes == "both" else (self.asked.modes,)
        made = [ProgramRunner(host, name, mode, facts, facts.state) for mode in modes]
        return [{**facts.spec, "call": one.mode, "can": facts.can, "runner": one} for one in made]

    def value(self, name: str, answer: Mapping[str, Any]) -> Any:
        """Return the arrays of an answer, or raise what it says."""
        del name
        if "error" in answer:
            error = named_error("error", answer["error"], "")
            raise error
        return answer["arrays"]

    def lost(
        self, name: str, answer: Mapping[str, Any], host: Host, message: Mapping[str, Any]
    ) -> ProgramError:
        """End a program that did not answer; return the error that says how."""
        child, line = host.children[0], header_of(message["line"], message["arrays"])
        partial = _wire_of(child).partial
        ending = child.lost(answer)
        request = FailedRequest(line, partial, ending.others, host.answered)
        if answer["lost"] == "hung":
            return ProgramError.late(name, host.seconds, request)
        if answer["lost"] == "garbled":
            return ProgramError.out_of_step(name, answer["what"], request)
        how = ending.how if ending.how != UNENDED else ""
        self.deaths.append(f"{how or 'a closed stdout'} in place of an answer to `{line}`")
        return ProgramError.ended(name, how, ending.words, request)

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


@dataclass(frozen=True, slots=True, eq=False)
class ProgramRunner:
    """A runner whose calls are requests to a program; see `backnorm.host.runners`.

    Attributes
    ----------
    host
        The process.
    name
        What messages call the subject.
    mode
        "train" or "eval".
    facts
        What the program says of itself.
    kept
        The state that calls start from.
    dtype
        Half precision in which arrays are sent; empty for their own.
    losses
        How the process was lost, where it was more than the answer to one request: until `restart`
        nothing is asked.
    """

    host: Host
    name: str
    mode: str
    facts: Facts
    kept: Mapping[str, AnyArray]
    dtype: str = ""
    losses: list[ProgramError] = field(default_factory=list)

    @property
    def lost(self) -> ProgramError | None:
        """How the process was lost; None as long as requests are answered."""
        return self.losses[0] if self.losses else None

    def restart(self) -> None:
        """Let the next call start a new process, if this one was lost."""
        self.losses.clear()

    def forward(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None) -> Any:
        """Return y."""
        return self.forwards([(x, gamma, beta)])[0]

    def forwards(
        self, calls: Sequence[tuple[AnyArray, AnyArray | None, AnyArray | None]]
    ) -> list[Any]:
        """Return y of each call; the requests do not wait for each other's answers."""
        requests = [self._request(*call, None) for call in calls]
        return [self._floats(found).get("y") for found in self._ask(requests)]

    def run(
        self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray
    ) -> dict[str, Any]:
        """Return y and the gradients."""
        found = self._floats(self._ask([self._request(x, gamma, beta, dy)])[0])
        return {name: found.get(name) for name in ("y", "dx", "dgamma", "dbeta")}

    def higher(
        self,
        x: AnyArray,
        gamma: AnyArray | None,
        beta: AnyArray | None,
        dy: AnyArray,
        along: Sequence[AnyArray],
    ) -> dict[str, Any]:
        """Return the last of the gradients of the gradient."""
        request = self._request(x, gamma, beta, dy)
        directions = {f"along{place}": self._sent(one) for place, one in enumerate(along)}
        arrays = {**request["arrays"], **directions}
        return self._floats(self._ask([{"line": "higher", "arrays": arrays}])[0])

    def state(self) -> Mapping[str, AnyArray]:
        """Return the state that calls start from."""
        return self.kept

    def attached(self) -> list[str]:
        """Return nothing: what a program keeps has gone through bytes."""
        return []

    def after(self, steps: Sequence[Step]) -> ProgramRunner:
        """Return the runner after some calls, each with the state that the one before left."""
        runner = self
        for x, gamma, beta, dy, train in steps:
            at = replace(runner, mode="train" if train else "eval")
            found = at._ask([at._request(x, gamma, beta, dy)])[0]  # noqa: SLF001 - its own kind
            runner = replace(runner, kept={**runner.kept, **self._state_in(found)})
        return runner

    def variant(self, dtype: str, threads: int, needs_dx: bool) -> ProgramRunner:  # noqa: FBT001
        """Return a runner that sends its arrays in another dtype."""
        del threads, needs_dx
        return replace(self, dtype=dtype)

    def _request(
        self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray | None
    ) -> dict[str, Any]:
        given = {"x": x, "gamma": gamma, "beta": beta, "dy": dy}
        arrays = {name: self._sent(one) for name, one in given.items() if one is not None}
        for name, value in self.kept.items():
            number = np.asarray(value)
            arrays[STATE + name] = number.astype(x.dtype) if number.dtype.kind == "f" else number
        return {"line": f"call {self.mode}", "arrays": arrays}

    def _sent(self, array: AnyArray) -> Any:
        return (array, self.dtype) if self.dtype else array

    def _ask(self, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        if self.losses:
            raise self.losses[0]
        try:
            return self.host.call_all(self.name, requests)
        except ProgramError as error:
            if not error.answers_one:
                self.losses.append(error)
            raise

    def _floats(self, found: Mapping[str, AnyArray]) -> dict[str, Any]:
        """Return what is no state, in float32 where it was asked for in half precision."""
        self._state_in(found)
        arrays = {name: one for name, one in found.items() if not name.startswith(STATE)}
        for name, array in arrays.items():
            if array.dtype.kind != "f":
                raise ProgramError.not_a_number(self.name, name, array.dtype.name)
            if swapped(array):
                raise ProgramError.big_endian(self.name, name)
        return {
            name: array.astype(np.float32) if self.dtype else array
            for name, array in arrays.items()
        }

    def _state_in(self, found: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        state = {n: one for n, one in found.items() if n.startswith(STATE)}
        kept = {STATE + name: np.asarray(value) for name, value in self.facts.state.items()}
        for name, array in state.items():
            want = kept.get(name)
            if want is None or want.shape != array.shape or want.dtype.kind != array.dtype.kind:
                known = "no such array" if want is None else _word(want)
                raise ProgramError.other_state(self.name, name, _word(array), known)
        return {name[len(STATE) :]: array for name, array in state.items()}


def _word(array: AnyArray) -> str:
    return f"{array.dtype.name}[{','.join(map(str, array.shape))}]"


def _wire_of(child: Child) -> LineWire:
    assert isinstance(child.wire, LineWire)  # noqa: S101 - as it was started
    return child.wire
