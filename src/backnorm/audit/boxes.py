"""What a box may offer beyond the two passes: state, higher derivatives, and variants of itself.

Each protocol is optional. What a box lacks is skipped by the audit, and said to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.audit.subject import Box, Run

__all__ = ["PLAIN", "DeepBox", "StatefulBox", "Variant", "VariedBox", "Visit"]


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """One call of a layer that keeps its state.

    Attributes
    ----------
    x, gamma, beta
        What it is given, as for `Box.run`.
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


@runtime_checkable
class StatefulBox(Protocol):
    """A box with a state that calls may change, such as running statistics."""

    def forward(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None) -> AnyArray:
        """Return y, as `Box` does."""
        ...

    def run(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray) -> Run:
        """Return y and the gradients, as `Box` does."""
        ...

    def state(self) -> Mapping[str, AnyArray]:
        """Return the state that every call starts from, under the layer's own names."""
        ...

    def attached(self) -> Sequence[str]:
        """Return the names of what in the state requires a gradient or holds a graph."""
        ...

    def after(self, visits: Sequence[Visit]) -> StatefulBox:
        """Return a box in the same mode whose state is the one after these calls.

        This box stays as it is. Without visits the box returned is like this one.
        """
        ...


@runtime_checkable
class DeepBox(Protocol):
    """A box that can differentiate its own gradient, by its framework's own means."""

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
            As for `Box.run`.
        along
            One direction, of the shape of x, for each order beyond the first.

        Returns
        -------
        mapping
            The last gradient: by "x", and where they are there by "gamma", "beta" and "dy".
            What is left out counts as 0.
        """
        ...


@dataclass(frozen=True, slots=True)
class Variant:
    """Another way to run the same layer.

    Attributes
    ----------
    dtype
        Format that it computes in, for those that NumPy has not, such as "bfloat16". Arrays
        still come as float32 and go as float32. Empty for the format of the arrays.
    threads
        How many threads.
    needs_dx
        Whether x needs a gradient. If not, dx is not looked at.
    """

    dtype: str = ""
    threads: int = 1
    needs_dx: bool = True


PLAIN: Final = Variant()
"""The way a layer is run where nothing else is said."""


@runtime_checkable
class VariedBox(Protocol):
    """A box that can be run in other ways."""

    def variant(self, variant: Variant) -> Box | None:
        """Return a box that is run this way, or None where that is not possible."""
        ...
