"""The runner of a subject: what calls it, here or in another process, and what that offers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import AnyArray

__all__ = ["Run", "Runner", "Step", "Traces"]


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
    """

    overwritten: tuple[str, ...]
    changed: tuple[str, ...]


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
        What it offers beyond the two passes: "higher", "state", "traces" and "overlapped", the
        operations of these names below; and "float16", "bfloat16", "threads", "needs_dx", what a
        `variant` may change. What it lacks is skipped by the audit, and said to be.
    """

    inner: Any
    can: frozenset[str] = frozenset()

    def forward(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None) -> AnyArray:
        """Return y."""
        return cast("AnyArray", self.inner.forward(x, gamma, beta))

    def run(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray) -> Run:
        """Return y and the gradients of sum(y*dy)."""
        found = self.inner.run(x, gamma, beta, dy)
        return Run(found["y"], found["dx"], found.get("dgamma"), found.get("dbeta"))

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
        return cast("Mapping[str, AnyArray]", self.inner.higher(x, gamma, beta, dy, list(along)))

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
        found = self.inner.traces(x, gamma, beta, dy)
        return Traces(tuple(found["overwritten"]), tuple(found["changed"]))

    def overlapped(
        self,
        x: AnyArray,
        gamma: AnyArray | None,
        beta: AnyArray | None,
        dy: AnyArray,
        later: AnyArray,
    ) -> Run:
        """Return y and the gradients; a forward pass on `later` precedes the backward pass."""
        found = self.inner.overlapped(x, gamma, beta, dy, later)
        return Run(found["y"], found["dx"], found.get("dgamma"), found.get("dbeta"))

    def attached(self) -> Sequence[str]:
        """Return the names of what in the state requires a gradient or holds a graph."""
        return cast("Sequence[str]", self.inner.attached())

    def after(self, steps: Sequence[Step]) -> Runner:
        """Return a runner in the same mode whose state is the one after these calls.

        This runner stays as it is. Without steps the one returned is like this one.
        """
        return replace(self, inner=self.inner.after(list(steps)))

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
