"""Codes I01 and on: the gradient is wrong on some inputs, or they are not taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["INPUTS"]

INPUTS: Final[Mapping[str, Entry]] = {
    "I01": Entry(
        "The gradient is wrong for another order of x or dy in memory.",
        "the gradient of the same values in the usual order",
        (
            "a kernel takes for granted that dy lies in memory as x does",
            "strides of 0, as of a gradient that was expanded, are not looked at",
            "a buffer is read through, whatever the strides say",
        ),
        "Make dy lie as x does before the kernel reads it.",
    ),
    "I02": Entry(
        "Where a channel is constant or has few values, the gradient is wrong or not finite.",
        "the derivative, as eps keeps it finite; or a refusal",
        (
            "the gradient divides by the standard deviation without eps",
            "the root is differentiated at 0, and eps stands outside of it",
            "a variance that is slightly negative by rounding is not raised to 0",
        ),
        "Put eps inside the root, or give a gradient of 0 where the variance is 0.",
    ),
    "I03": Entry(
        "Where gamma is 0, the gradient is wrong or not finite.",
        "dx of 0, and dgamma = sum(dy*x_hat)",
        (
            "x_hat is taken from the output, as (y - beta)/gamma",
            "gamma is divided out of another gradient",
            "an in-place layer has overwritten x",
        ),
        "Keep x or x_hat, at least where |gamma| is small.",
    ),
    "I04": Entry(
        "With another number of axes, or without gamma and beta, the gradient is wrong.",
        "the derivative of its own forward pass, or a refusal",
        (
            "the forward pass reduces over all axes, the backward pass over fixed ones",
            "the number of values is counted over some axes only",
            "gamma = 1 is assumed in one pass only",
        ),
        "Reduce over the same axes in both passes, or refuse other shapes.",
    ),
    "I05": Entry(
        "For large values the gradient is wrong.",
        "the derivative of its own forward pass",
        (
            "the forward pass clips x, y or the variance, and the backward pass does not know",
            "a sum of squares is not finite, and is replaced",
            "the centre is subtracted in one pass only",
        ),
        "Let the backward pass be 0 where the forward pass clips, or do not clip.",
    ),
    "I06": Entry(
        "dgamma or dbeta is another one where x needs no gradient.",
        "the same dgamma and dbeta",
        (
            "the backward pass returns early when x needs no gradient",
            "the graph is kept only if x needs a gradient",
            "what dgamma needs is computed along with dx",
        ),
        "Ask for each of the three gradients on its own.",
    ),
}
