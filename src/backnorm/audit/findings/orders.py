"""Codes D02 and D03: the derivative of the gradient is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ORDERS"]

ORDERS: Final[Mapping[str, Entry]] = {
    "D02": Entry(
        "The second derivative is not the derivative of the gradient, and nothing says so.",
        "the slope of its own dx, or a refusal",
        (
            "a backward pass written by hand takes what it saved for constants",
            "the mean within the variance is detached, which the gradient does not show",
            "the double backward pass leaves out a term, or is computed outside the graph",
        ),
        "Make the backward pass differentiable, or refuse: once_differentiable in PyTorch.",
    ),
    "D03": Entry(
        "The third derivative is not the derivative of the second, and nothing says so.",
        "the slope of its own second derivative, or a refusal",
        (
            "the double backward pass takes what it saved for constants",
            "the double backward pass leaves out a term",
        ),
        "Write the double backward pass with differentiable operations, or refuse.",
    ),
}
