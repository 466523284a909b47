"""All argument checks of the public functions: each returns the argument in its usual form."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar, get_args

import numpy as np

from backnorm._types import AnyArray, Request, SumLaw, Synchronize, Through, Variance
from backnorm.errors import DtypeError, RangeError, ShapeError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from backnorm._types import Float64Array, Shape

__all__ = [
    "DTYPES",
    "REQUESTS",
    "SUMS",
    "SYNCHRONIZE",
    "THROUGHS",
    "VARIANCES",
    "array",
    "at_most",
    "axis",
    "buffer",
    "dtype_name",
    "eps",
    "like",
    "mapping",
    "mask",
    "name_of",
    "no_overlap",
    "numbers",
    "parameter",
    "per_channel",
    "positions",
    "running_statistics",
    "slope",
    "weights",
    "whole_number",
]

T = TypeVar("T")

REQUESTS: tuple[str, ...] = get_args(Request)
SUMS: tuple[str, ...] = get_args(SumLaw)
SYNCHRONIZE: tuple[str, ...] = get_args(Synchronize)
THROUGHS: tuple[str, ...] = get_args(Through)
VARIANCES: tuple[str, ...] = get_args(Variance)

# Each dtype with its rank: a parameter may have x's dtype or one of a higher rank. The two 16-bit
# dtypes share a rank, because neither can represent all values of the other.
DTYPES = {"float16": 1, "bfloat16": 1, "float32": 2, "float64": 3}

# dtype.name is slow (it builds a string); a dict from dtype to name is not.
_names: dict[np.dtype[Any], str] = {
    np.dtype(name): name for name in ("float16", "float32", "float64")
}


def dtype_name(name: str, dtype: np.dtype[Any]) -> str:
    """Return the name of dtype in DTYPES. That of bfloat16 is compared, so ml_dtypes is not needed.

    Raises
    ------
    DtypeError
        If dtype is not in DTYPES, or not in this machine's byte order.
    """
    known = _names.get(dtype)
    if known is None:
        if dtype.name != "bfloat16" or not dtype.isnative:
            raise DtypeError.unsupported(name, dtype, DTYPES)
        known = _names[dtype] = "bfloat16"
    return known


def array(name: str, value: object) -> AnyArray:
    """Return value if it is a NumPy array with one of DTYPES; of a subclass its plain view."""
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        raise DtypeError.not_an_array(name, value)
    dtype_name(name, value.dtype)
    return value if type(value) is np.ndarray else value.view(np.ndarray)


def like(name: str, value: object, other: str, reference: AnyArray) -> AnyArray:
    """Return value if it has the shape and the dtype of reference."""
    checked = array(name, value)
    if checked.shape != reference.shape:
        raise ShapeError.same_as(name, checked.shape, other, reference.shape)
    if checked.dtype != reference.dtype:
        raise DtypeError.same_as(name, checked.dtype, other, reference.dtype)
    return checked


def axis(x: AnyArray, channel_axis: SupportsIndex, *, allow_empty: bool) -> int:
    """Return channel_axis counted from 0, once x has values to reduce over."""
    if x.ndim == 0:
        raise ShapeError.axes("x", x.shape)
    try:
        index = operator.index(channel_axis)
    except TypeError:
        raise RangeError.channel_axis(channel_axis, x.ndim) from None
    if not -x.ndim <= index < x.ndim:
        raise RangeError.channel_axis(channel_axis, x.ndim)
    index %= x.ndim
    if not allow_empty and x.size == 0 and math.prod(_without(x.shape, index)) == 0:
        raise ShapeError.empty(x.shape, index)
    return index


def _without(shape: Shape, index: int) -> Shape:
    return shape[:index] + shape[index + 1 :]


def per_channel(name: str, value: npt.ArrayLike, x: AnyArray, channel_axis: int) -> AnyArray:
    """Return value as an array of shape (C,) with one of DTYPES."""
    values = np.asarray(value)
    dtype_name(name, values.dtype)
    if values.shape != (x.shape[channel_axis],):
        raise ShapeError.per_channel(name, values.shape, x.shape[channel_axis], channel_axis)
    return values


def parameter(
    name: str, value: npt.ArrayLike | None, x: AnyArray, channel_axis: int
) -> AnyArray | None:
    """Return gamma or beta, of shape (C,), with the dtype of x or a wider one."""
    if value is None:
        return None
    values = per_channel(name, value, x, channel_axis)
    if values.dtype != x.dtype:
        rank = DTYPES[dtype_name(name, values.dtype)]
        if rank <= DTYPES[dtype_name("x", x.dtype)]:
            raise DtypeError.narrower(name, values.dtype, "x", x.dtype)
    return values


def running_statistics(
    mean: npt.ArrayLike | None,
    var: npt.ArrayLike | None,
    x: AnyArray,
    channel_axis: int,
    eps: float,
) -> tuple[Float64Array, Float64Array] | None:
    """Return frozen statistics as float64, or None if the batch's own are used."""
    if mean is None and var is None:
        return None
    if mean is None:
        raise RangeError.running_pair("running_mean", "running_var")
    if var is None:
        raise RangeError.running_pair("running_var", "running_mean")
    means = per_channel("running_mean", mean, x, channel_axis).astype(np.float64)
    variances = per_channel("running_var", var, x, channel_axis).astype(np.float64)
    wrong = variances + eps < 0
    if wrong.any():
        channel = int(wrong.argmax())
        raise RangeError.negative_variance(float(variances[channel]), channel)
    return means, variances


def mask(
    value: npt.ArrayLike, x: AnyArray, channel_axis: int, *, allow_none: bool = True
) -> npt.NDArray[np.bool_]:
    """Return value as a bool array with the shape of x without its channels.

    Without allow_none a position must count.
    """
    checked = np.asarray(value)
    if checked.dtype != np.bool_:
        raise DtypeError.not_a_mask(checked.dtype)
    want = _without(x.shape, channel_axis)
    if checked.shape != want:
        raise ShapeError.mask(checked.shape, want, x.shape)
    if not allow_none and not checked.any():
        raise ShapeError.nothing_counts(x.shape)
    return checked


def weights(value: npt.ArrayLike, x: AnyArray, channel_axis: int) -> AnyArray | None:
    """Return the weights of positions, with one of DTYPES; None if value is a mask of bool."""
    given = np.asarray(value)
    if given.dtype == np.bool_:
        return None
    if given.dtype.kind not in "fV":  # bfloat16 is of kind V
        raise DtypeError.no_weights(given.dtype)
    dtype_name("mask", given.dtype)
    want = _without(x.shape, channel_axis)
    if given.shape != want:
        raise ShapeError.mask(given.shape, want, x.shape)
    wide = given.astype(np.float64)
    wrong = ~(wide >= 0)
    if wrong.any():
        raise RangeError.weight(float(wide[wrong][0]))
    with np.errstate(over="ignore"):
        total = float(wide.sum())
    if not total < math.inf:
        raise RangeError.weight(total)
    return given


def positions(
    value: npt.ArrayLike | None, x: AnyArray, channel_axis: int, *, allow_none: bool
) -> tuple[npt.NDArray[np.bool_], AnyArray | None] | None:
    """Return copies of which positions count and of their weights, None without weights."""
    if value is None:
        return None
    given = weights(value, x, channel_axis)
    counted = mask(value if given is None else given > 0, x, channel_axis, allow_none=allow_none)
    return counted.copy(), None if given is None else given.copy()


def eps(value: float) -> float:
    """Return eps as a float, finite and not negative."""
    number = _number(value)
    if not 0.0 <= number < math.inf:
        raise RangeError.eps(value)
    return number


def slope(value: float) -> float:
    """Return leaky_relu's slope as a float, finite and positive."""
    number = _number(value)
    if not 0.0 < number < math.inf:
        raise RangeError.negative_slope(value)
    return number


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def whole_number(
    value: SupportsIndex | None, least: int, refusal: Callable[[object], RangeError]
) -> int:
    """Return a whole number, `least` or greater; raise the refusal of any other value."""
    try:
        number = operator.index(value)  # type: ignore[arg-type] # None is refused as any other
    except TypeError:
        raise refusal(value) from None
    if number < least:
        raise refusal(value)
    return number


def at_most(name: str, number: int, most: int) -> int:
    """Return number unless it is greater than the C++ part can hold."""
    if number > most:
        raise RangeError.count_too_large(name, number, most)
    return number


def mapping(name: str, value: Mapping[str, T] | None) -> Mapping[str, T]:
    """Return value if it is a mapping."""
    if not isinstance(value, Mapping):
        raise DtypeError.not_a_mapping(name, value)
    return value


def numbers(name: str, value: npt.ArrayLike) -> AnyArray:
    """Return a copy of value as an array of any dtype that NumPy makes of it.

    NumPy's exception is the cause of ours.
    """
    try:
        return np.array(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise DtypeError.not_numbers(name, value) from error


def name_of(argument: str, value: object, known: tuple[str, ...]) -> None:
    """Raise unless value is one of the known names."""
    if value not in known:
        raise UnknownNameError.choice(argument, value, known)


def buffer(name: str, value: object, other: str, reference: AnyArray) -> AnyArray:
    """Return a writable buffer of reference's shape and dtype whose values do not overlap."""
    checked = like(name, value, other, reference)
    flags = checked.flags
    if not flags.writeable:
        raise RangeError.read_only(name)
    if not flags.c_contiguous and _overlaps_itself(checked):
        raise RangeError.overlap_with_itself(name, checked.strides)
    return checked


def _overlaps_itself(array_: AnyArray) -> bool:
    """Whether two values of an array share a byte."""
    steps = sorted(
        (abs(stride), length)
        for stride, length in zip(array_.strides, array_.shape, strict=True)
        if length > 1
    )
    reach = array_.itemsize
    for step, length in steps:
        if step < reach:
            break
        reach += (length - 1) * step
    else:
        return False  # each axis steps over all that the shorter steps reach: the usual strides
    if array_.size == 0:
        return False
    # Strides that are not nested, such as those of a sliding window, may still fall between each
    # other. Only the positions of all values tell.
    starts = np.zeros(1, np.int64)
    for step, length in steps:
        starts = np.add.outer(starts, step * np.arange(length)).ravel()
    starts.sort()
    return bool((np.diff(starts) < array_.itemsize).any())


def no_overlap(outputs: dict[str, AnyArray | None], inputs: dict[str, AnyArray | None]) -> None:
    """Raise if an output shares memory with an input or with another output."""
    written = {name: array for name, array in outputs.items() if array is not None}
    others = {name: array for name, array in inputs.items() if array is not None}
    for name, output in written.items():
        for other, array_ in others.items():
            if _overlap(output, array_):
                raise RangeError.overlap(name, other)
        others[name] = output


def _overlap(a: AnyArray, b: AnyArray) -> bool:
    if not np.may_share_memory(a, b):
        return False
    try:
        # Exact: buf[:, :32] and buf[:, 32:] lie between each other without overlap. The bound
        # limits the time that unusual strides take.
        return bool(np.shares_memory(a, b, max_work=10_000))  # type: ignore[arg-type] # any number
    except RuntimeError:  # TooHardError, which moved between modules from NumPy 1 to 2
        return True
