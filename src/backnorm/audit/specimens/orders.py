"""Pairs that differentiate their own gradient: right at all orders, or at the first only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.specimens import parts
from backnorm.audit.specimens.plain import Frozen, Plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm._types import AnyArray

__all__ = [
    "FrozenOrders",
    "InnerMeanConstant",
    "SavedConstants",
    "SavedInSecond",
    "TermLeftOut",
    "ThreeOrders",
    "TwoOrders",
]

STEP: Final = 1e-30
"""Step of the complex-step derivative, which does not suffer from rounding."""


def tangent(x: AnyArray, v: AnyArray, gamma: AnyArray, dy: AnyArray) -> dict[str, AnyArray]:
    """Return how dx, dgamma and y change along v: the second derivative, as it is symmetric."""
    _, cache = Plain.forward(x, gamma, np.zeros_like(gamma))
    x_hat, inv_std, column = cache.x_hat, cache.inv_std, cache.gamma
    moved = v - parts.mean_of(v)
    inv_std_moves = -(inv_std**2) * parts.mean_of(x_hat * moved)
    x_hat_moves = moved * inv_std + (x - cache.mean) * inv_std_moves
    d, d_moves = parts.direct(dy, cache), column * inv_std_moves * dy
    share_moves = parts.mean_of(d_moves * x_hat + d * x_hat_moves)
    dx_moves = d_moves - parts.mean_of(d_moves) - x_hat_moves * parts.along(dy, cache)
    return {
        "x": dx_moves - x_hat * share_moves,
        "gamma": (dy * x_hat_moves).sum(parts.AXES),
        "dy": column * x_hat_moves,
    }


def third(
    x: AnyArray, along: Sequence[AnyArray], gamma: AnyArray, dy: AnyArray
) -> dict[str, AnyArray]:
    """Return how the second derivative changes along the last direction."""
    first, last = along
    derivatives = tangent(x + 1j * STEP * last, first, gamma, dy)
    return {name: value.imag / STEP for name, value in derivatives.items()}


class ThreeOrders(Plain):
    """Second and third derivative with all terms."""

    @staticmethod
    def higher(
        x: AnyArray, gamma: AnyArray, beta: AnyArray, dy: AnyArray, along: Sequence[AnyArray]
    ) -> dict[str, AnyArray]:
        del beta
        if len(along) == 1:
            return tangent(x, along[0], gamma, dy)
        return third(x, along, gamma, dy)


class TwoOrders(Plain):
    """The third is refused."""

    @staticmethod
    def higher(
        x: AnyArray, gamma: AnyArray, beta: AnyArray, dy: AnyArray, along: Sequence[AnyArray]
    ) -> dict[str, AnyArray]:
        if len(along) > 1:
            raise NotImplementedError
        return ThreeOrders.higher(x, gamma, beta, dy, along)


class FrozenOrders(Frozen):
    """The statistics are constants: the derivative by x is 0, which is right."""

    @staticmethod
    def higher(
        x: AnyArray, gamma: AnyArray, beta: AnyArray, dy: AnyArray, along: Sequence[AnyArray]
    ) -> dict[str, AnyArray]:
        if len(along) > 1:
            return {}
        _, cache = Frozen.forward(x, gamma, beta)
        scaled = along[0] * cache.inv_std
        return {"gamma": (scaled * dy).sum(parts.AXES), "dy": cache.gamma * scaled}


class SavedConstants(Plain):
    """The backward pass is differentiated with the saved x_hat and inv_std as constants."""

    @staticmethod
    def higher(
        x: AnyArray, gamma: AnyArray, beta: AnyArray, dy: AnyArray, along: Sequence[AnyArray]
    ) -> dict[str, AnyArray]:
        if len(along) > 1:
            return {}
        _, cache = Plain.forward(x, gamma, beta)
        by_dy, _, _ = Plain.backward(along[0], cache)
        return {"dy": by_dy, "gamma": (by_dy * dy).sum(parts.AXES) / gamma}


class TermLeftOut(Plain):
    """The second derivative lacks the term in which the last x_hat of dx moves."""

    @staticmethod
    def higher(
        x: AnyArray, gamma: AnyArray, beta: AnyArray, dy: AnyArray, along: Sequence[AnyArray]
    ) -> dict[str, AnyArray]:
        derivatives = ThreeOrders.higher(x, gamma, beta, dy, along)
        _, cache = Plain.forward(x, gamma, beta)
        x_hat_moves, _, _ = Plain.backward(along[0], cache)
        missing = x_hat_moves / cache.gamma * parts.along(dy, cache)
        return {**derivatives, "x": derivatives["x"] + missing}


class InnerMeanConstant(Plain):
    """The mean in the variance is a constant: dx is right, its derivative is wrong."""

    @staticmethod
    def higher(
        x: AnyArray, gamma: AnyArray, beta: AnyArray, dy: AnyArray, along: Sequence[AnyArray]
    ) -> dict[str, AnyArray]:
        derivatives = ThreeOrders.higher(x, gamma, beta, dy, along)
        _, cache = Plain.forward(x, gamma, beta)
        missing = parts.mean_of(along[0]) * cache.inv_std * parts.along(dy, cache)
        return {**derivatives, "x": derivatives["x"] - missing}


class SavedInSecond(Plain):
    """The second order is right; the third takes what the first saved for constants."""

    @staticmethod
    def higher(
        x: AnyArray, gamma: AnyArray, beta: AnyArray, dy: AnyArray, along: Sequence[AnyArray]
    ) -> dict[str, AnyArray]:
        derivatives = ThreeOrders.higher(x, gamma, beta, dy, along)
        return derivatives if len(along) == 1 else {**derivatives, "x": np.zeros_like(x)}
