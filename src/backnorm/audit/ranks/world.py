"""The ranks that call one layer together, as the audit sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np

from backnorm.host.raised import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.audit.subject import Subject

__all__ = ["FORMS", "RankAnswer", "RankCall", "RankGroup", "Stacked", "answer_of", "arguments_of"]

FORMS: Final = ("(N, *S)", "(N, 1, *S)", "the shape of x")
"""The shapes in which layers take a mask, in the order in which they are tried."""


class RankCall(NamedTuple):
    """What one rank is given.

    Attributes
    ----------
    x, dy
        Its part of the batch and of the incoming gradient; shape (N, C, *S).
    gamma, beta
        Parameters, the same on all ranks; None for a parameter that the layer lacks.
    mask
        What counts of x, of shape (N, *S); None where all does.
    """

    x: AnyArray
    dy: AnyArray
    gamma: AnyArray | None
    beta: AnyArray | None
    mask: AnyArray | None = None


class RankAnswer(NamedTuple):
    """What one rank answered.

    Attributes
    ----------
    y, dx, dgamma, dbeta
        What its call gave; None where it gave nothing.
    state
        What the layer keeps after the call, by name; empty with a mask.
    raised
        The error that it raised, or how its process ended; empty where there is none.
    hung
        Whether it had not answered long after the others.
    """

    y: AnyArray | None = None
    dx: AnyArray | None = None
    dgamma: AnyArray | None = None
    dbeta: AnyArray | None = None
    state: Mapping[str, AnyArray] = {}
    raised: str = ""
    hung: bool = False

    @property
    def failed(self) -> bool:
        """Whether it gave no result."""
        return self.hung or bool(self.raised) or self.y is None


class RankGroup(Protocol):
    """A group of ranks."""

    @property
    def alike(self) -> bool:
        """Whether the parts of all ranks must have one shape."""
        ...

    def call(self, parts: Sequence[RankCall], form: str = "") -> list[RankAnswer]:
        """Have each rank call the layer, from the state that it came with, at the same time.

        `form` is the shape in which the layer takes a mask, one of `FORMS`.
        """
        ...

    def end(self) -> None:
        """End what was started for it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Stacked:
    """Ranks in the process of the subject, whose parts are stacked along an axis of JAX.

    Attributes
    ----------
    subject
        What they call; it can run "parts".
    begin
        Called before anything is asked.
    """

    subject: Subject
    begin: Callable[[], object]

    @property
    def alike(self) -> bool:
        """Parts that are stacked have one shape."""
        return True

    def call(self, parts: Sequence[RankCall], form: str = "") -> list[RankAnswer]:
        """Have each rank call the layer."""
        self.begin()
        runner = self.subject.runner
        try:
            found = runner.inner.apart([arguments_of(part, form, runner.moved) for part in parts])
        except Exception as error:  # noqa: BLE001 - foreign code ran
            runner.restart()
            raised = f"{type(error).__name__}: {[*words_of(error).splitlines(), ''][0]}"
            return [RankAnswer(raised=raised)] * len(parts)
        return [answer_of(one, runner.moved) for one in found]

    def end(self) -> None:
        """Nothing was started."""


def arguments_of(part: RankCall, form: str, moved: tuple[int, int] | None) -> list[Any]:
    """Return what a runner is called with: channels where it has them, a mask in its form."""
    x, dy = (a if moved is None else np.moveaxis(a, *moved) for a in (part.x, part.dy))
    given = [np.ascontiguousarray(x), part.gamma, part.beta, np.ascontiguousarray(dy)]
    if part.mask is None:
        return given
    wide = part.mask[:, np.newaxis]
    if form == FORMS[2]:
        wide = np.broadcast_to(wide, part.x.shape)
    there = wide if moved is None else np.moveaxis(wide, *moved)
    return [*given, np.array(part.mask if form == FORMS[0] else there)]


def answer_of(value: Mapping[str, Any], moved: tuple[int, int] | None) -> RankAnswer:
    """Return what a runner gave, with channels where the audit has them."""
    found = {name: one for name, one in value.items() if isinstance(one, np.ndarray)}
    if moved is not None:
        for name in {"y", "dx"} & found.keys():
            found[name] = np.moveaxis(found[name], *reversed(moved))
    y, dx, dgamma, dbeta = (found.get(name) for name in ("y", "dx", "dgamma", "dbeta"))
    return RankAnswer(y, dx, dgamma, dbeta, value.get("state", {}))
