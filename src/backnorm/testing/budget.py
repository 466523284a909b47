"""How large the error of a result may be: all tolerances of the engine.

An error is measured in units: eps of the dtype times the largest exact value of the channel, or
times the size of the terms of a sum, where that is given and larger. Two budgets:

- the design's: the error of float64 arithmetic rounded once, plus `DESIGN_UNITS`;
- the house's, against plain NumPy in the same dtype: `PLAIN_FACTOR` times its error, plus
  `PLAIN_UNITS`.

Results in 16 bits are computed in float32 or better, so for them the 2 units are units of float32:
they may be off by one rounding and hardly more. For float64 the first budget does not apply, since
no result is rounded at the end; the second compares one float64 arithmetic with another.

Against a framework the error is measured in parts of the largest value of the array:
`FRAMEWORK_PARTS` and the constants below it.

The tests of `backnorm.reference` have separate tolerances in ``tests/oracles/tolerance.py``: they
must not import backnorm, and they compare float64 with 60 digits.
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
    "NETWORK_OUTPUT",
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
"""The distance from 1 to the next number of each dtype; numpy.finfo does not know bfloat16."""

SMALLEST: Mapping[str, float] = {
    "float16": 2.0**-24,
    "bfloat16": 2.0**-133,
    "float32": 2.0**-149,
    "float64": 2.0**-1074,
}
"""The smallest positive number of each dtype. A unit is never smaller: no result can be closer."""

DESIGN_UNITS = 2.0
"""The budget of float32 arithmetic beyond the one rounding that float64 needs as well: four
roundings (product, sum, mean of dz, scale) of half a unit. The kernels take sums in float64 and
compute results in float32. Their measured errors are in docs/numerics.md; in float64 it was 0.4."""

PLAIN_FACTOR = 2.0
"""Another order of summation may double the error of the same arithmetic; more has a cause."""

PLAIN_UNITS = 4.0
"""Plain NumPy may happen to be exact; the four roundings above still count."""

FRAMEWORK_PARTS: Mapping[str, float] = {
    "float32": 4e-6,
    "float64": 1e-12,
}
"""Largest difference between a dialect and its framework, in parts of the largest value.

float32: the sums of frameworks are up to 3.5e-6 away from exact (dbeta of MXNet, case c046), ours
are not. float64: sums in another order, 1.2e-13 measured (case c090)."""

FRAMEWORK_UNITS = 2.0
"""The same for float16, in units in the last place of the largest value, and also for the float32
arrays beside it: MXNet rounds to float16 after every operation. Measured: 1.2 (dgamma)."""

FRAMEWORK_FACTOR = 2.0
"""If the input is far from 0, the framework is far from exact, up to 1.3e-4 (dgamma of MXNet, case
c089). Then a dialect may be twice as far from the framework as the framework is from exact: once
for the error of the framework, once for ours."""

DIFFERENCE_STEP = 1e-5
"""The step of central differences in float64 for values about 1: the truncation error is its
square, the rounding error 2e-16 divided by it."""

DIFFERENCES = 1e-8
"""Largest difference between a gradient and central differences with that step, in parts of the
largest value: 100 times the truncation error of 1e-10, for third derivatives of that size.
Measured: 1.5e-9."""

SAME_OUTPUT = 1e-6
"""Largest change of the output in eval by a conversion, in parts of the largest value: 8 roundings
to float32, of mean, var, gamma and beta in the source and in the target. Measured: 8e-8."""

RECORDED_OUTPUT = 2e-6
"""Largest difference in eval between a converted state and the framework that wrote the state, in
parts of the largest value: `SAME_OUTPUT` for the conversion, and as much for the float32 arithmetic
of the framework. Measured: 1.8e-7."""

FILE_OUTPUT = 2e-6
"""Largest difference in eval between a converted file and the output that its framework recorded,
in parts of the largest value: 16 roundings to float32, of the arrays of two layers, their sums and
products, in that framework and in the conversion. Measured: 2.4e-7."""

NETWORK_OUTPUT = 1e-5
"""Largest difference between the outputs of a whole network and of its converted twin, in parts of
the largest value: what issue 16 asks for. Rounding to float32 adds up over the layers. Measured on
scikit-learn's digits: 3.1e-7 (Caffe), 5.8e-7 (Keras)."""

SHOWN_DIGITS = 3e-7
"""Largest difference to a number that was computed by hand, in parts of the largest value: half of
the seventh decimal that is written down, and the rounding of momentum to float32, 6e-8 to 0.25."""

_PLAIN = f"{PLAIN_UNITS:g} more than {PLAIN_FACTOR:g} times"


def units(
    got: AnyArray, exact: AnyArray, *, channel_axis: int = 0, scale: npt.ArrayLike = 0.0
) -> AnyArray:
    """Return the largest error of each channel in units; NaN if got or exact has a NaN there.

    Parameters
    ----------
    got
        The result to judge.
    exact
        The exact values, same shape, in a wider dtype.
    channel_axis
        The axis that holds the channels.
    scale
        The size of the terms of a sum, one value per channel or one for all.

    Returns
    -------
    numpy.ndarray
        Shape (C,), float64 or long double.
    """
    errors, unit = _errors(got, exact, channel_axis, scale)
    with np.errstate(invalid="ignore"):
        return np.asarray(errors.max(axis=1, initial=0) / unit)


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

    If plain is given, got must keep the house's budget as well.

    Parameters
    ----------
    got
        The result to judge.
    exact
        The exact values, same shape, in a wider dtype.
    rounded
        The result of float64 arithmetic, in any dtype; it is rounded to the dtype of got. None
        stands for exact, which is stricter.
    plain
        The result of plain NumPy in the dtype of got.
    channel_axis
        The axis that holds the channels; the only axis of a per-channel array.
    scale
        The size of the terms of a sum, one value per channel or one for all.

    Raises
    ------
    AssertionError
        With the channel, the value of got, the exact value, and both errors in units.
    """
    assert got.shape == exact.shape, f"shape {got.shape}, not {exact.shape}"  # noqa: S101
    with np.errstate(all="ignore"):  # a value too large for the dtype fails below, not here
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
    """Return the largest difference in parts of the largest wanted value; NaN if a value is NaN."""
    wanted = np.asarray(want, dtype=np.float64)
    error = np.abs(np.asarray(got, dtype=np.float64) - wanted).max(initial=0.0)
    size = np.abs(wanted).max(initial=0.0)
    return float(error / size) if size > 0.0 else float(error)


def assert_like_framework(
    got: AnyArray, golden: AnyArray, exact: AnyArray, *, dtype: str, offset: bool, name: str
) -> str:
    """Assert that a dialect computes what its framework computed, and return the errors as text.

    Parameters
    ----------
    got, golden, exact
        Results of the dialect, the framework and float64 arithmetic; same shape.
    dtype
        The dtype of the input of the framework.
    offset
        Whether the input is far from 0, so that the error of the framework counts.
    name
        Name of the result, for the text.

    Returns
    -------
    str
        A line: name, error of got against golden, of golden against exact, and the allowed error.
    """
    assert got.shape == golden.shape, f"{name}: shape {got.shape}, not {golden.shape}"  # noqa: S101
    assert got.dtype == golden.dtype, f"{name}: {got.dtype}, not {golden.dtype}"  # noqa: S101
    ours, golden_error = parts(got, golden), parts(golden, exact)
    allowed = _units_of_half(golden) if dtype == "float16" else FRAMEWORK_PARTS[dtype]
    if offset:
        allowed = max(allowed, FRAMEWORK_FACTOR * golden_error)
    line = f"{name:24} {ours:9.1e} {golden_error:9.1e} {allowed:9.1e}"
    assert ours <= allowed, f"ours to golden, golden to exact, allowed: {line}"  # noqa: S101
    return line


def _units_of_half(golden: AnyArray) -> float:
    """Return `FRAMEWORK_UNITS` in parts of the largest value."""
    largest = np.abs(golden.astype(np.float64)).max()
    return FRAMEWORK_UNITS * float(np.spacing(np.float16(largest))) / float(largest)


def assert_bits(got: AnyArray, want: AnyArray) -> None:
    """Assert that shape, dtype and all bits agree: -0 differs from 0, a NaN equals its own bits."""
    assert (got.shape, got.dtype) == (want.shape, want.dtype)  # noqa: S101
    size = f"u{got.itemsize}"
    bits = np.ascontiguousarray(got).view(size), np.ascontiguousarray(want).view(size)
    different = np.argwhere(bits[0] != bits[1])
    if len(different):
        position = tuple(int(index) for index in different[0])
        message = (
            f"{len(different)} of {got.size} values differ, the first at {position}: "
            f"got {got[position]}, not {want[position]}"
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
    errors, unit = _errors(got, exact, channel_axis, scale)
    # Not "errors > allowed", which is false for NaN.
    bad = ~(errors <= (allowed * unit)[:, None])
    if not bad.any():
        return
    channel = int(bad.any(axis=1).argmax())
    index = int(np.where(bad[channel], np.nan_to_num(errors[channel], nan=np.inf), -1).argmax())
    with np.errstate(invalid="ignore"):
        count = float(errors[channel, index] / unit[channel])
    message = (
        f"channel {channel}, value {index}: "
        f"got {_rows(got, channel_axis)[channel, index]}, "
        f"exact {_rows(exact, channel_axis)[channel, index]}: "
        f"{count:.3g} units, "
        f"allowed {float(allowed[channel]):.3g} ({rule}); "
        f"{int(bad.sum())} of {bad.size} values exceed it"
    )
    raise AssertionError(message)


def _errors(
    got: AnyArray, exact: AnyArray, channel_axis: int, scale: npt.ArrayLike
) -> tuple[AnyArray, AnyArray]:
    """Return the error of each value, shape (C, n), and the unit of each channel, shape (C,)."""
    # float64 holds every value of the narrower dtypes; an exact value may need long double.
    wide = np.result_type(exact.dtype, np.longdouble if got.dtype == np.float64 else np.float64)
    want = _rows(exact, channel_axis, wide)
    with np.errstate(invalid="ignore"):
        errors = np.abs(_rows(got, channel_axis, wide) - want)
    size = np.maximum(np.abs(want).max(axis=1, initial=0), np.asarray(scale, wide))
    name = got.dtype.name
    return errors, np.maximum(EPS[name] * size, SMALLEST[name])


def _rows(array: AnyArray, channel_axis: int, wide: Any = np.longdouble) -> Any:
    """Return the array as (C, n), in a wide dtype."""
    rows = np.moveaxis(np.asarray(array), channel_axis, 0)
    if rows.dtype != np.longdouble:
        rows = rows.astype(np.float64)  # bfloat16 cannot be cast to long double directly
    n = int(np.prod(rows.shape[1:]))
    return rows.reshape(rows.shape[0], n).astype(wide, copy=False)
