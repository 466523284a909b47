"""Codes N01 to N04: digits are lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PRECISION"]

PRECISION: Final[Mapping[str, Entry]] = {
    "N01": Entry(
        "Half of the digits are lost where the mean is large.",
        "the digits that are left when the mean is subtracted first",
        (
            "the variance is E[x^2] - E[x]^2",
            "the mean is summed in the format of x, value after value",
            "scale and shift are folded into one factor and one term, which cancel",
        ),
        "Subtract the mean first, or sum in a wider format.",
    ),
    "N02": Entry(
        "Half of the digits are lost at a scale of x whose squares the format still holds.",
        "the digits of the format, at any such scale",
        (
            "the gradient has inv_std**3 or var**-1.5 in it, which underflows or overflows",
            "a sum of cubes or of fourth powers",
            "x is clipped, or a small variance is raised to a limit",
        ),
        "Build the gradient of x_hat and inv_std: dx = d - mean(d) - x_hat*mean(d*x_hat).",
    ),
    "N03": Entry(
        "y or a gradient is NaN or infinite at a scale of x where the exact result is finite.",
        "finite values",
        (
            "squares overflow, and infinity minus infinity is NaN",
            "eps is 0, or vanishes beside the smallest number, and 0 is divided by 0",
            "an overflowing product is multiplied by 0",
        ),
        "Scale x by its largest value first, or sum in a wider format.",
    ),
    "N04": Entry(
        "Half of the digits are lost, or values are not finite, in float16 or bfloat16.",
        "errors of a few units in the last place",
        (
            "sums are kept in the format itself: float16 ends at 65504",
            "statistics are rounded to the format before they are used",
            "eps is below the smallest number of float16",
        ),
        "Keep statistics and sums in float32, and round the results once.",
    ),
}
