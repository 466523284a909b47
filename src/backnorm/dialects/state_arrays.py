"""Between a layer's state and the arrays that its framework keeps, under the framework's names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from backnorm import _check
from backnorm.dialects.columns import UNKNOWN
from backnorm.dialects.semantics import Running, effective
from backnorm.errors import DtypeError, RangeError, ShapeError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from backnorm._types import AnyArray
    from backnorm.dialects.columns import Array, Row
    from backnorm.dialects.settings import Settings

__all__ = ["Stored", "arrays_of", "arrays_present", "fresh", "read"]


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A layer's state in backnorm's words.

    Attributes
    ----------
    mean, var
        As the row's `storage` says, shape (C,). [x], [x]^2
    gamma, beta
        As stored, shape (C,); None where the layer has none.
    average_mean, average_var
        What eval reads, where the framework stores it beside mean and var.
    divisor, count, finetuned
        As the roles of the same names in `columns`.
    """

    mean: AnyArray
    var: AnyArray
    gamma: AnyArray | None = None
    beta: AnyArray | None = None
    average_mean: AnyArray | None = None
    average_var: AnyArray | None = None
    divisor: float = 0.0
    count: int = 0
    finetuned: int = 0

    @property
    def running(self) -> Running:
        """The statistics, for `semantics`."""
        return Running(self.mean.astype(float), self.var.astype(float), self.divisor, self.count)

    def eval_statistics(self, row: Row, settings: Settings) -> tuple[AnyArray, AnyArray]:
        """Return what eval normalizes with."""
        if self.average_mean is not None and self.average_var is not None:
            return self.average_mean, self.average_var
        return effective(row, settings, self.running)

    def after(self, row: Row, settings: Settings, running: Running) -> Stored:
        """Return the state with new statistics, rounded to the dtype that holds them."""
        mean, var = running.mean.astype(self.mean.dtype), running.var.astype(self.var.dtype)
        new = replace(
            self, mean=mean, var=var, divisor=_single(running.divisor, mean), count=running.count
        )
        if self.average_mean is None:
            return new
        averages = effective(row, settings, new.running)
        return replace(
            new,
            average_mean=averages[0].astype(mean.dtype),
            average_var=averages[1].astype(var.dtype),
        )

    def in_dtype(self, dtype: npt.DTypeLike) -> Stored:
        """Return the state with each array in the wider of its dtype and this dtype."""
        changed: dict[str, Any] = {}
        for role in ("mean", "var", "gamma", "beta", "average_mean", "average_var"):
            value = getattr(self, role)
            if value is not None:
                changed[role] = value.astype(np.promote_types(value.dtype, dtype))
        return replace(self, **changed)


def _single(divisor: float, like: AnyArray) -> float:
    """Return the divisor as an array of that dtype holds it."""
    return float(np.asarray(divisor).astype(like.dtype))


def arrays_present(row: Row, settings: Settings) -> tuple[Array, ...]:
    """Return the arrays that a layer with these options has."""
    absent = set()
    if not settings.gamma:
        absent.add("gamma")
    if not settings.beta:
        absent.add("beta")
    if settings.statistics == "untracked":
        absent |= {"mean", "var", "average_mean", "average_var", "divisor", "count", "first"}
    return tuple(array for array in row.arrays.known if array.role not in absent)


def fresh(row: Row, settings: Settings, c: int) -> Stored:
    """Return the state of a new layer; NaN stands for memory that was never written."""
    start = row.initial.value
    mean, var = (np.nan, np.nan) if start is UNKNOWN else start
    roles = {array.role for array in row.arrays.known}
    ones, zeros = np.ones(c, np.float32), np.zeros(c, np.float32)
    return Stored(
        mean=ones * np.float32(mean),
        var=ones * np.float32(var),
        gamma=ones.copy() if settings.gamma else None,
        beta=zeros.copy() if settings.beta else None,
        average_mean=zeros.copy() if "average_mean" in roles else None,
        average_var=zeros.copy() if "average_var" in roles else None,
    )


def arrays_of(row: Row, settings: Settings, stored: Stored) -> dict[str, AnyArray]:
    """Return the state as the framework stores it; every array is a copy."""
    values: dict[str, Any] = {
        "divisor": stored.divisor,
        "count": stored.count,
        "finetuned": stored.finetuned,
        "first": stored.count == 0,
        "one": 1.0,
    }
    arrays = {}
    for array in arrays_present(row, settings):
        if array.shape == "C":
            arrays[array.name] = np.array(getattr(stored, array.role))
        else:
            dtype = array.dtype or stored.mean.dtype
            arrays[array.name] = np.full(array.shape, values[array.role], dtype=dtype)
    return arrays


def read(row: Row, settings: Settings, state: Mapping[str, npt.ArrayLike], c: int) -> Stored:
    """Read a state in the framework's names, after checking that each array fits.

    Raises
    ------
    UnknownNameError, RangeError
        An array too many or too few.
    ShapeError, DtypeError
        An array that does not fit, or something other than a state.
    """
    _check.mapping("state", state)
    wanted = {array.name: array for array in arrays_present(row, settings)}
    for name in state:
        if name not in wanted:
            raise UnknownNameError.stored(str(name), row.name, tuple(wanted))
    stored = fresh(row, settings, c)
    changed: dict[str, Any] = {}
    for name, array in wanted.items():
        if name not in state:
            if array.optional:
                continue
            raise RangeError.stored_missing(name, row.name)
        value = _fitting(row, array, state[name], c)
        if array.role == "first":
            changed["count"] = 0 if value.item() else row.copied_updates.known
        elif array.shape != "C":
            if array.role != "one":
                changed[array.role] = value.item()
        else:
            changed[array.role] = value
    return replace(stored, **changed)


def _fitting(row: Row, array: Array, value: npt.ArrayLike, c: int) -> AnyArray:
    """Return a copy of an array in the shape that the row gives it; axes of length 1 are free."""
    name = f"state[{array.name!r}]"
    values = _check.numbers(name, value)
    want = (c,) if array.shape == "C" else array.shape
    if [n for n in values.shape if n != 1] != [n for n in want if n != 1]:
        raise ShapeError.stored(row.name, array.name, values.shape, want)
    if array.dtype is None:
        _check.dtype_name(name, values.dtype)
    elif values.dtype.kind not in "biuf":
        raise DtypeError.not_numbers(name, value)
    return values.reshape(want)
