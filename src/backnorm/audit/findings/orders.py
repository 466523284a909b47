"""Codes D02 and D03: the derivative of the gradient is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ORDERS"]

ORDERS: Final[Mapping[str, Entry]] = {
    "D02": Entry(
        "The second derivative is not the derivative of the gradient, and no error is raised.",
        "the slope of its dx, or an error",
        (
            "a backward pass written by hand treats the saved values as constants",
            "the mean within the variance is detached, which leaves the gradient unchanged",
            "the double backward pass leaves out a term, or is computed outside the graph",
        ),
        "Make the backward pass differentiable, or raise: once_differentiable in PyTorch.",
    ),
    "D03": Entry(
        "The third derivative is not the derivative of the second, and no error is raised.",
        "the slope of its second derivative, or an error",
        (
            "the double backward pass treats the saved values as constants",
            "the double backward pass leaves out a term",
        ),
        "Write the double backward pass with differentiable operations, or raise an error.",
    ),
}
