"""The canonical state that every conversion goes through, and the ways into and out of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from backnorm import _check
from backnorm.dialects.columns import UNKNOWN
from backnorm.dialects.semantics import correction, gamma_used
from backnorm.dialects.state_arrays import Stored, arrays_of, read
from backnorm.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from backnorm._types import AnyArray, Float64Array
    from backnorm.dialects.columns import Role, Row
    from backnorm.dialects.settings import Settings

__all__ = ["Canonical", "from_canonical", "refuse_negative_root", "to_canonical", "untouched"]


@dataclass(frozen=True, slots=True, eq=False)
class Canonical:
    """What a state means, in no framework's terms.

    Attributes
    ----------
    mean, var
        The statistics that eval normalizes with, shape (C,), float64. [x], [x]^2
    var_is
        Which estimate the running variance is.
    var_holds_eps
        Whether var contains eps already, as in NVIDIA's Caffe.
    eps
        What eval adds to var. [x]^2
    gamma, beta
        The factor of x_hat and the term added to it, float64; None stands for 1 and for 0.
    stored_gamma
        The array that gamma follows from, used or not; None where the layer lacks it.
    keep
        The weight of the old statistics; None for a plain mean, NaN where it is unknown.
    updates
        The number of updates; None where it is unknown.
    divisor
        What divided the stored sums; None where averages were stored.
    unread
        Whether there are sums that cannot be read because their divisor is 0.
    finetuned
        Chainer's count of calls with finetune=True.
    dtype
        The dtype of the arrays, float32 at least.
    """

    mean: Float64Array
    var: Float64Array
    var_is: Literal["biased", "unbiased"]
    var_holds_eps: bool
    eps: float
    gamma: Float64Array | None
    beta: Float64Array | None
    stored_gamma: AnyArray | None
    keep: float | None
    updates: int | None
    divisor: float | None
    unread: bool
    finetuned: int
    dtype: np.dtype[Any]


def to_canonical(row: Row, settings: Settings, state: Mapping[str, npt.ArrayLike]) -> Canonical:
    """Return what a state means.

    Raises
    ------
    ConversionError
        A layer without running statistics, a state with a value that is NaN or infinite, or a
        state whose sums have a negative divisor.
    UnknownNameError, RangeError, ShapeError, DtypeError
        An array too many or too few, or an array that does not fit.
    """
    if settings.statistics == "untracked":
        raise ConversionError.no_statistics(row.name)
    arrays = {
        name: _check.numbers(f"state[{name!r}]", value)
        for name, value in _check.mapping("state", state).items()
    }
    _refuse_not_finite(row, arrays)
    # The framework's arrays by their roles, then the statistics and gamma that follow from them:
    # sums are divided, hidden averages freed of their start, gamma taken by its rule.
    stored = read(row, settings, arrays, channels(row, arrays))
    if stored.divisor < 0.0:
        raise ConversionError.negative_divisor(row.name, _name(row, "divisor"), stored.divisor)
    with np.errstate(over="ignore"):  # sums divided by almost nothing
        mean, var = stored.eval_statistics(row, settings)
    _refuse_not_finite(row, {_name(row, "mean"): mean, _name(row, "var"): var})
    gamma = gamma_used(row, settings, stored.gamma)
    roles = {array.role for array in row.arrays.known}
    return Canonical(
        mean=mean.astype(np.float64),
        var=var.astype(np.float64),
        var_is=row.running_var.known,
        var_holds_eps=row.storage.known == "averages, eps in the variance",
        eps=settings.eps,
        gamma=None if gamma is None else gamma.astype(np.float64),
        beta=None if stored.beta is None else stored.beta.astype(np.float64),
        stored_gamma=stored.gamma,
        keep=_keep_as_given(row, settings),
        updates=_updates(row, stored),
        divisor=stored.divisor if "divisor" in roles else None,
        unread=bool(stored.divisor == 0.0 and (stored.mean.any() or stored.var.any())),
        finetuned=stored.finetuned,
        dtype=np.promote_types(stored.mean.dtype, np.float32),
    )


def _keep_as_given(row: Row, settings: Settings) -> float | None:
    """Return the weight of the old statistics unrounded; only the source rounds it to float32."""
    momentum: Any = settings.options.get(str(row.momentum.known.name), math.nan)
    if momentum is None:
        return None
    return float(momentum) if row.momentum_weighs.known == "old" else 1.0 - momentum


def _updates(row: Row, stored: Stored) -> int | None:
    """Return how many updates there were, if the state tells.

    A count of 0 alone does not tell it: a writer that does not know the count writes 0 too.
    """
    roles = {array.role for array in row.arrays.known}
    if "first" in roles:
        return 0 if stored.count == 0 else None
    if "count" not in roles:
        return None
    return stored.count or (0 if untouched(row, stored.mean, stored.var) else None)


def untouched(row: Row, mean: AnyArray, var: AnyArray) -> bool:
    """Tell whether the statistics are still those of a new layer."""
    start = row.initial.value
    if start is UNKNOWN or not mean.size:
        return False
    return bool((mean == start[0]).all() and (var == start[1]).all())


def from_canonical(row: Row, settings: Settings, canonical: Canonical) -> dict[str, AnyArray]:
    """Write a meaning in the arrays of a framework.

    Raises
    ------
    ConversionError
        A gamma that the framework cannot write, or a value too large for the dtype of the state.
    """
    # The inverse of `to_canonical`: what the target divides by when it reads is multiplied in here.
    count = _count(row, settings, canonical)
    factor = 1.0
    if row.storage.known == "sums and their divisor":
        factor = canonical.divisor or 1.0
    elif row.storage.known == "hidden averages and their count":
        factor = correction(settings, count)
    dtype, c = canonical.dtype, len(canonical.mean)
    roles = {array.role for array in row.arrays.known}
    beta = np.zeros(c) if canonical.beta is None else canonical.beta
    averages = "average_mean" in roles
    stored = Stored(
        mean=_rounded(row, "mean", canonical.mean * factor, dtype),
        var=_rounded(row, "var", canonical.var * factor, dtype),
        gamma=_rounded(row, "gamma", _gamma(row, settings, canonical), dtype),
        beta=_rounded(row, "beta", beta, dtype),
        average_mean=_rounded(row, "average_mean", canonical.mean, dtype) if averages else None,
        average_var=_rounded(row, "average_var", canonical.var, dtype) if averages else None,
        divisor=factor,
        count=count,
        finetuned=canonical.finetuned,
    )
    return arrays_of(row, settings, stored)


def _rounded(row: Row, role: Role, values: Float64Array, dtype: np.dtype[Any]) -> AnyArray:
    """Return values in a dtype; one that is too large for it would become infinite."""
    with np.errstate(over="ignore"):
        rounded: AnyArray = values.astype(dtype)
    wrong = np.isinf(rounded)
    if wrong.any() and any(array.role == role for array in row.arrays.known):
        channel = int(wrong.argmax())
        requirement = f"be within the range of {dtype.name}"
        value = float(values[channel])
        raise ConversionError.cannot_hold(row.name, _name(row, role), requirement, value, channel)
    return rounded


def channels(row: Row, state: Mapping[str, AnyArray]) -> int:
    """Return the number of channels of a state."""
    names = {array.name for array in row.arrays.known if array.shape == "C"}
    sizes = [value.size for name, value in state.items() if name in names]
    return sizes[0] if sizes else 1


def _refuse_not_finite(row: Row, state: Mapping[str, AnyArray]) -> None:
    for name, value in state.items():
        values = value.ravel()
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            channel = int(np.isfinite(values).argmin())
            raise ConversionError.not_finite(row.name, name, channel)


def refuse_negative_root(row: Row, canonical: Canonical) -> None:
    """Raise where var + eps is negative and has no root: no target could have that output.

    Raises
    ------
    ConversionError
        A variance below -eps.
    """
    wrong = canonical.var + canonical.eps < 0.0
    if wrong.any():
        channel = int(wrong.argmax())
        name, value = _name(row, "var"), float(canonical.var[channel])
        raise ConversionError.negative_variance(row.name, name, value, channel)


def _name(row: Row, role: Role) -> str:
    return next(array.name for array in row.arrays.known if array.role == role)


def _gamma(row: Row, settings: Settings, canonical: Canonical) -> Float64Array:
    """Return what to store for gamma."""
    gamma = np.ones_like(canonical.mean) if canonical.gamma is None else canonical.gamma
    if row.gamma_rule.known == "stored" or not settings.gamma:
        return gamma
    stored = gamma - settings.eps
    if (stored < 0).any():
        channel = int((stored < 0).argmax())
        value = float(gamma[channel])
        requirement = f"be {settings.eps:g} or greater"
        raise ConversionError.cannot_hold(row.name, "gamma", requirement, value, channel)
    return stored


def _count(row: Row, settings: Settings, canonical: Canonical) -> int:
    """Return the count to store: the source's, or a count with which eval reads the same averages.

    Averages freed of their start need a count above 0 unless they are still at that start. Where
    the source does not tell the count, the least count that frees them completely is stored:
    1 - keep^count = 1.
    """
    known = canonical.updates
    if row.storage.known != "hidden averages and their count":
        return row.copied_updates.known if known is None else known
    if known == 0 and untouched(row, canonical.mean, canonical.var):
        return 0
    keep = settings.keep or 0.0
    if known or keep == 1.0:
        return known or 0
    count = 1 if keep == 0.0 else math.ceil(math.log(2.0**-54) / math.log(keep))
    return max(count, 1)
