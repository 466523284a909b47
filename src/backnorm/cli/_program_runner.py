"""The runner of a program: its calls are requests, and what the answers hold is checked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from backnorm.cli._facts import STATE
from backnorm.errors import ProgramError
from backnorm.host.lines import swapped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.audit.subjects.runner import Step
    from backnorm.cli._facts import Facts
    from backnorm.cli._hosts import Host

__all__ = ["ProgramRunner"]

FULL: Final = np.dtype("float32").itemsize
"""Bytes of a value of the narrowest dtype in which a gradient is judged."""

NOTHING: Final = np.zeros(0)
"""In place of an array that is not in an answer."""


class AskedProgram(Protocol):
    """What a runner needs of the program that it asks; `backnorm.cli._programs.Program` is one."""

    in_order: bool

    def refuse_surplus(self, name: str, host: Host, message: Mapping[str, Any]) -> None:
        """Raise ProgramError if it has written more than its answers."""


@dataclass(frozen=True, slots=True, eq=False)
class ProgramRunner:
    """A runner whose calls are requests to a program; see `backnorm.host.runners`.

    Attributes
    ----------
    host
        The process.
    program
        How it is asked.
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
    program: AskedProgram
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
        answers = self._ask(requests)
        self._refuse_other_order(requests, answers)
        return [self._floats(found, ("y",))["y"] for found in answers]

    def run(
        self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray
    ) -> dict[str, Any]:
        """Return y and the gradients."""
        found = self._floats(self._ask([self._request(x, gamma, beta, dy)])[0], ("y", "dx"))
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
            answers = self.host.call_all(self.name, requests)
            self.program.refuse_surplus(self.name, self.host, requests[-1])
        except ProgramError as error:
            if not error.answers_one:
                self.losses.append(error)
            raise
        return answers

    def _refuse_other_order(
        self, requests: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, AnyArray]]
    ) -> None:
        """Ask the first and the last of several requests again, alone: once for each program.

        Raises ProgramError if the answer belongs to another request; one that belongs to none is of
        a program that does not repeat its answers, which is measured elsewhere.
        """
        if self.program.in_order or len(requests) == 1:
            return
        self.program.in_order = True
        several = [one.get("y", NOTHING).tobytes() for one in answers]
        for place in (0, len(requests) - 1):
            alone = self._ask([requests[place]])[0].get("y", NOTHING).tobytes()
            if alone != several[place] and alone in several:
                at = several.index(alone)
                raise ProgramError.out_of_order(self.name, at + 1, place + 1, len(requests))

    def _floats(self, found: Mapping[str, AnyArray], needed: Sequence[str] = ()) -> dict[str, Any]:
        """Return the arrays but for the state; float32 where half precision was asked for."""
        for name in needed:
            if name not in found:
                raise ProgramError.lacks(self.name, name, tuple(found))
        self._state_in(found)
        arrays = {name: one for name, one in found.items() if not name.startswith(STATE)}
        for name, array in arrays.items():
            narrow = array.dtype.itemsize < FULL and not self.dtype
            if array.dtype.kind != "f" or narrow:
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
