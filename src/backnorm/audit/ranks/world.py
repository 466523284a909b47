"""A group of processes that call one layer together, as the audit sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import AnyArray

__all__ = ["FORMS", "RankAnswer", "RankCall", "RankGroup"]

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
    """A group of processes."""

    def call(self, parts: Sequence[RankCall], form: str = "") -> list[RankAnswer]:
        """Have each rank call the layer, from the state that it came with, at the same time.

        `form` is the shape in which the layer takes a mask, one of `FORMS`.
        """
        ...
