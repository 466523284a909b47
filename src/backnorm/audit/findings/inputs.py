"""Codes I01 and on: the gradient is wrong on some inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["INPUTS"]

INPUTS: Final[Mapping[str, Entry]] = {
    "I01": Entry(
        "y or the gradient is wrong where x or dy is in another memory order.",
        "y and the gradient of the same values in the usual memory order",
        (
            "a kernel assumes that dy has the strides of x",
            "strides of 0, as an expanded gradient has, are ignored",
            "a buffer is read in order, whatever the strides are",
            "random numbers of the layer's generator are drawn in the order of the memory",
        ),
        "Give dy the memory order of x before the kernel reads it.",
    ),
    "I02": Entry(
        "Where the values that share statistics are all the same, or few, the gradient is wrong or "
        "not finite.",
        "the derivative, which eps keeps finite, or an error",
        (
            "the gradient divides by the standard deviation without eps",
            "the root is differentiated at 0, and eps is outside the root",
            "a variance that is slightly negative by rounding is not clamped to 0",
        ),
        "Put eps inside the root, or give a gradient of 0 where the variance is 0.",
    ),
    "I03": Entry(
        "Where gamma is 0, the gradient is wrong or not finite.",
        "dx of 0, and dgamma = sum(dy*x_hat)",
        (
            "x_hat is computed from the output, as (y - beta)/gamma",
            "gamma is divided out of another gradient",
            "an in-place layer has overwritten x",
        ),
        "Keep x or x_hat, at least where |gamma| is small.",
    ),
    "I04": Entry(
        "With another number of axes, or without gamma and beta, the gradient is wrong.",
        "the derivative of its forward pass, or an error",
        (
            "the forward pass reduces over all axes, the backward pass over fixed ones",
            "the number of values is counted over some axes only",
            "gamma = 1 is assumed in one pass only",
        ),
        "Reduce over the same axes in both passes, or raise an error for other shapes.",
    ),
    "I05": Entry(
        "The gradient is wrong for large values.",
        "the derivative of its forward pass",
        (
            "the forward pass clips x, y or the variance, and the backward pass ignores it",
            "a sum of squares is not finite, and is replaced",
            "the mean is subtracted in one pass only",
        ),
        "Let the backward pass be 0 where the forward pass clips, or do not clip.",
    ),
    "I06": Entry(
        "dgamma or dbeta changes when x needs no gradient.",
        "the same dgamma and dbeta",
        (
            "the backward pass returns early when x needs no gradient",
            "the graph is kept only if x needs a gradient",
            "dgamma uses values that are computed with dx only",
        ),
        "Compute each of the three gradients without the others.",
    ),
    "I07": Entry(
        "Where the mean is large, y is off by more than its size, or is NaN.",
        "an error of y far below its size, at any mean whose values the dtype can tell apart",
        (
            "the variance is E[x^2] - E[x]^2: its error grows with the square of the mean",
            "a negative variance is raised to 0, or its root is taken",
            "sums are kept in a dtype that cannot hold them",
        ),
        "Subtract the mean first, or sum in a wider dtype.",
    ),
}
