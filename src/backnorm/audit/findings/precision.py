"""Codes N01 to N04: precision is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PRECISION"]

PRECISION: Final[Mapping[str, Entry]] = {
    "N01": Entry(
        "More than half of the digits are lost where the mean is large.",
        "the precision of a variance whose mean is subtracted first",
        (
            "the variance is E[x^2] - E[x]^2",
            "the mean is summed in the dtype of x, one value after the other",
            "scale and shift are folded into one factor and one term, which cancel",
        ),
        "Subtract the mean first, or sum in a wider dtype.",
    ),
    "N02": Entry(
        "More than half of the digits are lost at a scale of x whose squares the dtype can hold.",
        "the precision of the dtype, at any such scale",
        (
            "the gradient uses inv_std**3 or var**-1.5, which underflows or overflows",
            "it uses a sum of cubes or of fourth powers",
            "x is clipped, or a small variance is raised to a limit",
        ),
        "Compute the gradient from x_hat and inv_std: dx = d - mean(d) - x_hat*mean(d*x_hat), "
        "without mean(d) in RMS normalization.",
    ),
    "N03": Entry(
        "y or a gradient is NaN or infinite at a scale of x where the exact result is finite.",
        "finite values",
        (
            "squares overflow, and infinity minus infinity is NaN",
            "eps is 0, or is rounded to 0, and 0 is divided by 0",
            "an overflowing product is multiplied by 0",
        ),
        "Scale x by its largest value first, or sum in a wider dtype.",
    ),
    "N04": Entry(
        "In float16 or bfloat16, more than half of the digits are lost, or values are not finite.",
        "errors of a few units in the last place",
        (
            "sums are kept in float16, which ends at 65504, or in bfloat16",
            "statistics are rounded to the half-precision dtype before they are used",
            "eps is below the smallest number of float16",
        ),
        "Keep statistics and sums in float32, and round the results once.",
    ),
}
