"""How wrong a result may be. The one home of the engine's tolerances.

An error is measured in units: eps of the format times the largest exact value of the channel, or
times the size of what was added up to it, where that is larger and is given. Two budgets:

- the design's: no more than float64 arithmetic rounded once, plus `DESIGN_UNITS`;
- the house's, against plain NumPy in the same format: no more than `PLAIN_FACTOR` times its error,
  plus `PLAIN_UNITS`.

The 16-bit formats are computed in float32 or better, so that for them the 2 units are float32's:
they may be off by one rounding and hardly more. For float64 itself the first says nothing: nothing
is rounded at the end, and one float64 arithmetic against another is what the second is for.

Against what a framework computed the error is measured in parts of the array's largest value:
`FRAMEWORK_PARTS` and what stands below it.

The tests of `backnorm.reference` have numbers of their own in ``tests/oracles/tolerance.py``: what
judges the reference may not import backnorm, and float64 against 60 digits is another question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from backnorm._types import AnyArray

__all__ = [
    "DESIGN_UNITS",
    "DIFFERENCES",
    "DIFFERENCE_STEP",
    "EPS",
    "FILE_OUTPUT",
    "FRAMEWORK_FACTOR",
    "FRAMEWORK_PARTS",
    "FRAMEWORK_UNITS",
    "PLAIN_FACTOR",
    "PLAIN_UNITS",
    "RECORDED_OUTPUT",
    "SAME_OUTPUT",
    "SHOWN_DIGITS",
    "SMALLEST",
    "assert_bits",
    "assert_like_framework",
    "assert_within_budget",
    "parts",
    "units",
]

EPS: Mapping[str, float] = {
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
    "float32": 2.0**-23,
    "float64": 2.0**-52,
}
"""The distance from 1 to the next number of each format; numpy.finfo does not know bfloat16."""

SMALLEST: Mapping[str, float] = {
    "float16": 2.0**-24,
    "bfloat16": 2.0**-133,
    "float32": 2.0**-149,
    "float64": 2.0**-1074,
}
"""The smallest number above 0 of each format: no unit is less, for no result can be closer."""

DESIGN_UNITS = 2.0
"""What the design leaves to float32 arithmetic beyond the one rounding that float64 needs too: four
roundings (product, sum, mean of dz, scale) of half a unit. The kernels take sums in float64 and
compute results in float32; what they measure stands in docs/numerics.md, in float64 it was 0.4."""

PLAIN_FACTOR = 2.0
"""Another order of summation may double the error of the same arithmetic; more has a cause."""

PLAIN_UNITS = 4.0
"""Where plain NumPy happens to be exact, the roundings counted above are still there."""

FRAMEWORK_PARTS: Mapping[str, float] = {
    "float32": 4e-6,
    "float64": 1e-12,
}
"""How far a dialect may be from what its framework computed, in parts of the largest value.

float32: the frameworks' own sums are up to 3.5e-6 away from exact (MXNet's dbeta, case c046), and
ours are not. float64: sums in another order, 1.2e-13 measured (case c090)."""

FRAMEWORK_UNITS = 2.0
"""The same for float16, in its units in the last place of the largest value, also for what is kept
in float32 beside it: MXNet rounds to float16 after every operation. Measured: 1.2 (dgamma)."""

FRAMEWORK_FACTOR = 2.0
"""Where the input is far from 0 the framework itself is far from exact, up to 1.3e-4 (MXNet's
dgamma, case c089): then a dialect may be twice as far from it as it is from exact. Once for the
framework's error, which is the distance to exact results, and once for ours."""

DIFFERENCE_STEP = 1e-5
"""The step of central differences in float64 where the values are about 1: what is cut off is its
square, what is rounded 2e-16 divided by it."""

DIFFERENCES = 1e-8
"""How far a gradient may be from central differences with that step, in parts of the largest value:
100 times the 1e-10 that is cut off, for third derivatives of that size. Measured: 1.5e-9."""

SAME_OUTPUT = 1e-6
"""How far the output in eval may move by a conversion, in parts of the largest value: 8 roundings
to float32, of mean, var, gamma and beta in the source and in the target. Measured: 8e-8."""

RECORDED_OUTPUT = 2e-6
"""How far the output in eval of a converted state may be from what the framework that wrote the
state computed with it, in parts of the largest value: `SAME_OUTPUT` for the conversion, and as much
for the framework's own float32 arithmetic. Measured: 1.8e-7."""

FILE_OUTPUT = 2e-6
"""How far the output in eval of a converted file may be from what the framework that wrote the
file recorded, in parts of the largest value: 16 roundings to float32, of two layers' arrays, their
sums and products, in that framework and in the conversion. Measured: 2.4e-7."""

SHOWN_DIGITS = 3e-7
"""How far a number may be from one that was worked out by hand, in parts of the largest value: half
of the seventh decimal that is written down, and what momentum as float32 adds, 6e-8 to 0.25."""

_PLAIN = f"{PLAIN_UNITS:g} more than {PLAIN_FACTOR:g} times"


def units(
    got: AnyArray, exact: AnyArray, *, channel_axis: int = 0, scale: npt.ArrayLike = 0.0
) -> AnyArray:
    """Return the largest error of each channel in units; NaN where got or exact is no number.

    Parameters
    ----------
    got
        What is judged, in its own format.
    exact
        The exact values, same shape, in a wider format.
    channel_axis
        The axis that holds the channels.
    scale
        The size of what was added up, one value per channel or one for all.

    Returns
    -------
    numpy.ndarray
        Shape (C,), float64 or long double.
    """
    wrong, unit = _errors(got, exact, channel_axis, scale)
    with np.errstate(invalid="ignore"):
        return np.asarray(wrong.max(axis=1, initial=0) / unit)


def assert_within_budget(
    got: AnyArray,
    exact: AnyArray,
    *,
    rounded: AnyArray | None = None,
    plain: AnyArray | None = None,
    channel_axis: int = 0,
    scale: npt.ArrayLike = 0.0,
) -> None:
    """Assert that got keeps the design's budget (float64: the house's, with rounded as plain).

    Where plain is given, got has to keep the house's budget as well.

    Parameters
    ----------
    got
        What is judged, in its own format.
    exact
        The exact values, same shape, in a wider format.
    rounded
        What float64 arithmetic gives, in any format: it is rounded to that of got. Without it
        float64 arithmetic is taken to be exact but for that rounding, the stricter reading.
    plain
        What plain NumPy gives in the format of got.
    channel_axis
        The axis that holds the channels; of a per-channel array its only one.
    scale
        The size of what was added up, one value per channel or one for all.

    Raises
    ------
    AssertionError
        Naming the channel, the value got, the exact one, and both errors in units.
    """
    assert got.shape == exact.shape, f"shape {got.shape}, not {exact.shape}"  # noqa: S101
    with np.errstate(all="ignore"):  # a value that the format cannot hold is an error of its own
        ideal = np.asarray(exact if rounded is None else rounded).astype(got.dtype)
    best = units(ideal, exact, channel_axis=channel_axis, scale=scale)
    if got.dtype == np.float64:
        allowed, rule = PLAIN_FACTOR * best + PLAIN_UNITS, f"{_PLAIN} float64 NumPy"
    else:
        # A 16-bit result is computed in float32 or better: the units are float32's.
        extra = DESIGN_UNITS * min(1.0, EPS["float32"] / EPS[got.dtype.name])
        allowed, rule = best + extra, f"{extra:.2g} more than float64 rounded once"
    _judge(got, exact, allowed, channel_axis, scale, rule)
    if plain is not None:
        other = units(plain, exact, channel_axis=channel_axis, scale=scale)
        allowed = PLAIN_FACTOR * other + PLAIN_UNITS
        _judge(got, exact, allowed, channel_axis, scale, f"{_PLAIN} plain NumPy")


def parts(got: npt.ArrayLike, want: npt.ArrayLike) -> float:
    """Return the largest difference in parts of the largest wanted value; NaN where one is NaN."""
    wanted = np.asarray(want, dtype=np.float64)
    wrong = np.abs(np.asarray(got, dtype=np.float64) - wanted).max(initial=0.0)
    size = np.abs(wanted).max(initial=0.0)
    return float(wrong / size) if size > 0.0 else float(wrong)


def assert_like_framework(
    got: AnyArray, golden: AnyArray, exact: AnyArray, *, dtype: str, offset: bool, name: str
) -> str:
    """Assert that a dialect computes what its framework did, and return both errors as text.

    Parameters
    ----------
    got, golden, exact
        Ours, the framework's, and float64 arithmetic's; same shape.
    dtype
        The format of the framework's input.
    offset
        Whether the input is far from 0, so that the framework's own error counts.
    name
        What it is, for the text.

    Returns
    -------
    str
        A line: name, ours to golden, golden to exact, what is allowed.
    """
    assert got.shape == golden.shape, f"{name}: shape {got.shape}, not {golden.shape}"  # noqa: S101
    assert got.dtype == golden.dtype, f"{name}: {got.dtype}, not {golden.dtype}"  # noqa: S101
    ours, own = parts(got, golden), parts(golden, exact)
    allowed = _units_of_half(golden) if dtype == "float16" else FRAMEWORK_PARTS[dtype]
    if offset:
        allowed = max(allowed, FRAMEWORK_FACTOR * own)
    line = f"{name:24} {ours:9.1e} {own:9.1e} {allowed:9.1e}"
    assert ours <= allowed, f"ours to golden, golden to exact, allowed: {line}"  # noqa: S101
    return line


def _units_of_half(golden: AnyArray) -> float:
    """Return `FRAMEWORK_UNITS` in parts of the largest value."""
    largest = np.abs(golden.astype(np.float64)).max()
    return FRAMEWORK_UNITS * float(np.spacing(np.float16(largest))) / float(largest)


def assert_bits(got: AnyArray, want: AnyArray) -> None:
    """Assert the same shape, format and bits; -0 is not 0, and a NaN equals its own bits."""
    assert (got.shape, got.dtype) == (want.shape, want.dtype)  # noqa: S101
    size = f"u{got.itemsize}"
    bits = np.ascontiguousarray(got).view(size), np.ascontiguousarray(want).view(size)
    different = np.argwhere(bits[0] != bits[1])
    if len(different):
        place = tuple(int(index) for index in different[0])
        message = (
            f"{len(different)} of {got.size} values differ, the first at {place}: "
            f"got {got[place]}, not {want[place]}"
        )
        raise AssertionError(message)


def _judge(  # noqa: PLR0917 - private
    got: AnyArray,
    exact: AnyArray,
    allowed: AnyArray,
    channel_axis: int,
    scale: npt.ArrayLike,
    rule: str,
) -> None:
    wrong, unit = _errors(got, exact, channel_axis, scale)
    # Not "wrong > allowed", which NaN passes.
    bad = ~(wrong <= (allowed * unit)[:, None])
    if not bad.any():
        return
    channel = int(bad.any(axis=1).argmax())
    place = int(np.where(bad[channel], np.nan_to_num(wrong[channel], nan=np.inf), -1).argmax())
    with np.errstate(invalid="ignore"):
        count = float(wrong[channel, place] / unit[channel])
    message = (
        f"channel {channel}, value {place}: "
        f"got {_rows(got, channel_axis)[channel, place]}, "
        f"exact {_rows(exact, channel_axis)[channel, place]}: "
        f"{count:.3g} units, "
        f"allowed {float(allowed[channel]):.3g} ({rule}); "
        f"{int(bad.sum())} of {bad.size} values exceed it"
    )
    raise AssertionError(message)


def _errors(
    got: AnyArray, exact: AnyArray, channel_axis: int, scale: npt.ArrayLike
) -> tuple[AnyArray, AnyArray]:
    """Return each value's error, shape (C, n), and the unit of each channel, shape (C,)."""
    # float64 holds every value of the narrower formats; an exact value may need long double.
    wide = np.result_type(exact.dtype, np.longdouble if got.dtype == np.float64 else np.float64)
    want = _rows(exact, channel_axis, wide)
    with np.errstate(invalid="ignore"):
        wrong = np.abs(_rows(got, channel_axis, wide) - want)
    size = np.maximum(np.abs(want).max(axis=1, initial=0), np.asarray(scale, wide))
    name = got.dtype.name
    return wrong, np.maximum(EPS[name] * size, SMALLEST[name])


def _rows(array: AnyArray, channel_axis: int, wide: Any = np.longdouble) -> Any:
    """Return the array as (C, n), in a wide format."""
    first = np.moveaxis(np.asarray(array), channel_axis, 0)
    if first.dtype != np.longdouble:
        first = first.astype(np.float64)  # the way from bfloat16
    n = int(np.prod(first.shape[1:]))
    return first.reshape(first.shape[0], n).astype(wide, copy=False)
