"""The runner of a subject: what calls it, here or in another process, and what that offers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backnorm._types import AnyArray, Shape
    from backnorm.errors import SubjectError

__all__ = ["GivenArrays", "Others", "Run", "Runner", "Step", "Traces"]

GivenArrays: TypeAlias = "tuple[AnyArray, AnyArray | None, AnyArray | None]"
"""x, gamma and beta of a forward pass."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What one forward and backward pass gave.

    Attributes
    ----------
    y
        The output; shape of x. [gamma]
    dx
        Gradient with respect to x; shape of x.
    dgamma, dbeta
        Gradients with respect to gamma and beta; None counts as zero.
    """

    y: AnyArray
    dx: AnyArray
    dgamma: AnyArray | None = None
    dbeta: AnyArray | None = None


class Traces(NamedTuple):
    """What a forward and a backward pass leave behind.

    Attributes
    ----------
    overwritten
        Names of the arrays, of those that it was given, that it overwrote.
    changed
        Names of the global state that it changed.
    random
        Whether it drew random numbers, which the runner holds fixed from call to call.
    """

    overwritten: tuple[str, ...]
    changed: tuple[str, ...]
    random: bool = False


class Others(NamedTuple):
    """What a call gives where the parameters beside gamma and beta are moved.

    Attributes
    ----------
    y
        The output.
    values
        What each of these parameters is in this call.
    gradients
        The gradients of sum(y*dy) by those that it reaches.
    """

    y: AnyArray
    values: Mapping[str, AnyArray]
    gradients: Mapping[str, AnyArray]


class Step(NamedTuple):
    """One call of a layer that keeps its state.

    Attributes
    ----------
    x, gamma, beta
        What it is given, as for `Runner.run`.
    dy
        The incoming gradient; None for a forward pass without a backward pass.
    train
        Whether the layer trains in this call; otherwise it evaluates.
    """

    x: AnyArray
    gamma: AnyArray | None
    beta: AnyArray | None
    dy: AnyArray | None = None
    train: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Runner:
    """What calls a subject: operations on NumPy arrays that leave no trace.

    All of them start from the same state every time, whatever was run before.

    Attributes
    ----------
    inner
        The runner of `backnorm.host`, here or in another process, which speaks in dictionaries.
    can
        What it offers beyond the two passes: "higher", "state", "traces", "overlapped" and
        "others", the operations of these names below; and "float16", "bfloat16", "threads",
        "needs_dx", what a `variant` may change. What it lacks is skipped by the audit, and said to
        be.
    moved
        From where to where the axis of channels is moved on the way to the subject, and back on the
        way here; None where the subject has it where the audit has it.
    """

    inner: Any
    can: frozenset[str] = frozenset()
    moved: tuple[int, int] | None = None

    @property
    def lost(self) -> SubjectError | None:
        """How the process was lost that runs it; None as long as it is there."""
        return cast("SubjectError | None", getattr(self.inner, "lost", None))

    def restart(self) -> None:
        """Let the next call start a new process, if the one that runs it was lost."""
        if self.lost is not None:
            self.inner.restart()

    def shape_there(self, name: str, array: AnyArray) -> Shape:
        """Return the shape that an array has on the side of the subject."""
        return tuple((self._theirs(array) if name in ("x", "dy") else array).shape)

    def forward(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None) -> AnyArray:
        """Return y."""
        return cast("AnyArray", self._ours(self.inner.forward(self._theirs(x), gamma, beta)))

    def forwards(self, calls: Sequence[GivenArrays]) -> Iterator[AnyArray]:
        """Yield y of each of some calls, which need not wait for each other."""
        if hasattr(self.inner, "forwards"):
            given = [(self._theirs(x), gamma, beta) for x, gamma, beta in calls]
            yield from map(self._ours, self.inner.forwards(given))
        else:
            for call in calls:
                yield self.forward(*call)

    def run(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray) -> Run:
        """Return y and the gradients of sum(y*dy)."""
        return self._run(self.inner.run(self._theirs(x), gamma, beta, self._theirs(dy)))

    def higher(
        self,
        x: AnyArray,
        gamma: AnyArray | None,
        beta: AnyArray | None,
        dy: AnyArray,
        along: Sequence[AnyArray],
    ) -> Mapping[str, AnyArray]:
        """Differentiate sum(along[0]*dx), take of it the gradient g by x, then sum(along[1]*g)...

        Parameters
        ----------
        x, gamma, beta, dy
            As for `run`.
        along
            One direction, of the shape of x, for each order beyond the first.

        Returns
        -------
        mapping
            The last gradient: by "x", and where they are there by "gamma", "beta" and "dy".
            What is left out counts as 0.
        """
        directions = [self._theirs(direction) for direction in along]
        given = (self._theirs(x), gamma, beta, self._theirs(dy))
        found = dict(self.inner.higher(*given, directions))
        return found | {name: self._ours(found[name]) for name in ("x", "dy") if name in found}

    def state(self) -> Mapping[str, AnyArray]:
        """Return the state that every call starts from, under the layer's own names."""
        return cast("Mapping[str, AnyArray]", self.inner.state())

    def given(self) -> Mapping[str, AnyArray]:
        """Return the state that the object came with, where calls start from another."""
        return cast("Mapping[str, AnyArray]", getattr(self.inner, "given", self.inner.state)())

    def traces(
        self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray
    ) -> Traces:
        """Return what a forward and a backward pass leave behind."""
        found = self.inner.traces(self._theirs(x), gamma, beta, self._theirs(dy))
        names = tuple(found["overwritten"]), tuple(found["changed"])
        return Traces(*names, bool(found.get("random", False)))

    def overlapped(
        self,
        x: AnyArray,
        gamma: AnyArray | None,
        beta: AnyArray | None,
        dy: AnyArray,
        later: AnyArray,
    ) -> Run:
        """Return y and the gradients; a forward pass on `later` precedes the backward pass."""
        arrays = self._theirs(dy), self._theirs(later)
        return self._run(self.inner.overlapped(self._theirs(x), gamma, beta, *arrays))

    def others(
        self,
        x: AnyArray,
        gamma: AnyArray | None,
        beta: AnyArray | None,
        dy: AnyArray | None,
        moved: Mapping[str, AnyArray],
    ) -> Others:
        """Return what a call gives where the parameters beside gamma and beta are moved by so much.

        Only those that train are among them. Without a dy there are no gradients.
        """
        found = self.inner.others(self._theirs(x), gamma, beta, self._theirs(dy), moved)
        return Others(self._ours(found["y"]), found["values"], found["gradients"])

    def attached(self) -> Sequence[str]:
        """Return the names of what in the state requires a gradient or holds a graph."""
        return cast("Sequence[str]", self.inner.attached())

    def after(self, steps: Sequence[Step]) -> Runner:
        """Return a runner in the same mode whose state is the one after these calls.

        This runner stays as it is. Without steps the one returned is like this one.
        """
        moved = [one._replace(x=self._theirs(one.x), dy=self._theirs(one.dy)) for one in steps]
        return replace(self, inner=self.inner.after(moved))

    def variant(self, dtype: str = "", threads: int = 1, *, needs_dx: bool = True) -> Runner:
        """Return a runner of the same layer that calls it in another way.

        Parameters
        ----------
        dtype
            Format that it computes in, for those that NumPy has not, such as "bfloat16". Arrays
            still come as float32 and go as float32. Empty for the format of the arrays.
        threads
            How many threads.
        needs_dx
            Whether x needs a gradient. If not, dx is not looked at.

        Returns
        -------
        Runner
            Where `can` names what differs from the usual way.
        """
        return replace(self, inner=self.inner.variant(dtype, threads, needs_dx))

    def _run(self, found: Mapping[str, Any]) -> Run:
        y, dx = self._ours(found["y"]), self._ours(found["dx"])
        return Run(y, dx, found.get("dgamma"), found.get("dbeta"))

    def _theirs(self, array: Any) -> Any:
        """Move the channels to where the subject has them."""
        return array if self.moved is None or array is None else _with_moved(array, *self.moved)

    def _ours(self, array: Any) -> Any:
        """Move the channels back; what is no array of that many axes is refused by its reader."""
        if self.moved is None or not isinstance(array, np.ndarray) or array.ndim < 2:  # noqa: PLR2004
            return array
        return _with_moved(array, *reversed(self.moved))


def _with_moved(array: AnyArray, source: int, target: int) -> AnyArray:
    return np.ascontiguousarray(np.moveaxis(array, source, target))
