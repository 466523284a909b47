"""The one assertion for numbers in the tests of the reference, and the numbers it uses."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from oracles.exact import MP

AnyArray: TypeAlias = npt.NDArray[Any]

FLOAT64_UNIT = 2.0**-52
LONG_DOUBLE_UNIT = float(np.finfo(np.longdouble).eps)

REFERENCE_UNITS = 8
"""Roundings that add up in one float64 result of the reference: sums of up to 8 terms and some ten
operations, in part independent; the worst measured is 2, in second derivatives 1."""

EXTENDED_UNITS = 1
"""The extended oracle computes with twice the digits and rounds once, by half a unit."""

TINY = 1e-300
"""Keeps the scale above 0 where every value is 0, and hides no error that float64 can hold."""


def largest(*arrays: AnyArray) -> Any:
    """The largest absolute value in any of the arrays; 0 if all of them are empty."""
    return max((abs(_exact(value)) for array in arrays for value in np.ravel(array)), default=0)


def assert_close(
    got: Any,
    want: Any,
    *,
    units: float = REFERENCE_UNITS,
    condition: float = 1.0,
    scale: float = 0.0,
    unit: float = FLOAT64_UNIT,
) -> None:
    """Assert equal shapes, and |got - want| <= units*unit*condition*max(largest(want), scale).

    `scale` is the size of what was added up, where that is larger than the result; `condition` the
    growth of a rounding error that the problem itself has.
    """
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"shape {got.shape}, not {want.shape}"
    allowed = units * unit * condition * float(max(largest(want), scale, TINY))
    pairs = zip(got.ravel(), want.ravel(), strict=True)
    errors = [abs(_exact(one) - _exact(other)) for one, other in pairs]
    # Each error by itself, as max() may drop a NaN; and not "error > allowed", which NaN passes.
    wrong = [float(error) for error in errors if not error <= allowed]
    assert not wrong, (
        f"{len(wrong)} of {len(errors)} exceed {allowed:.3g}, the first: {wrong[0]:.3g}"
    )


def _exact(value: Any) -> Any:
    """A number of any format in 60 digits, without loss."""
    if isinstance(value, np.longdouble):
        high = float(value)
        return MP.mpf(high) + MP.mpf(float(value - np.longdouble(high)))
    return MP.mpf(value) if isinstance(value, MP.mpf) else MP.mpf(float(value))
