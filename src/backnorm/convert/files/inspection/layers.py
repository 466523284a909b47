"""What one layer holds, and what is wrong with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.convert.canonical import untouched
from backnorm.convert.files._checks import below_zero
from backnorm.convert.files.inspection.record import FileFinding, LayerSummary
from backnorm.convert.files.record import ESTIMATOR
from backnorm.convert.files.untold import assumed_of
from backnorm.dialects import row_of
from backnorm.dialects.columns import UNKNOWN
from backnorm.dialects.semantics import gamma_used
from backnorm.dialects.settings import options_of, settings_of
from backnorm.dialects.state_arrays import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from backnorm._types import AnyArray, Float64Array
    from backnorm.convert.files.inspection.record import Range
    from backnorm.convert.files.record import NormLayer

__all__ = ["findings_of", "summary_of", "values_of"]

MOST_CHANNELS: Final = 5
"""In a sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerValues:
    """What eval computes with.

    Attributes
    ----------
    mean, var, gamma, beta
        In float64, shape (C,); gamma and beta are None where the layer lacks them.
    eps
        What is added to var; NaN where it is unknown. [x]^2
    untouched
        Whether the stored statistics are those of a new layer.
    """

    mean: Float64Array
    var: Float64Array
    gamma: Float64Array | None
    beta: Float64Array | None
    eps: float
    untouched: bool


def values_of(layer: NormLayer) -> LayerValues:
    """Return what a layer computes with, whether or not it is finite."""
    row = row_of(layer.dialect)
    # The option that chooses the statistics is about the network in training.
    options = {k: v for k, v in layer.options.items() if k != row.statistics.known.name}
    settings = settings_of(row, options, complete=False)
    names = {array.name for array in row.arrays.known if array.shape == "C"}
    with np.errstate(all="ignore"):
        state = {k: _wide(v) if k in names else v for k, v in layer.state.items()}
        stored = read(row, settings, state, layer.channels)
        mean, var = stored.eval_statistics(row, settings)
        gamma = gamma_used(row, settings, stored.gamma)
    holds_eps = row.storage.known == "averages, eps in the variance"
    return LayerValues(
        mean,
        var - settings.eps if holds_eps else var,
        gamma,
        stored.beta,
        settings.eps,
        row.initial.value is not UNKNOWN and untouched(row, stored.mean, stored.var),
    )


def _wide(array: AnyArray) -> AnyArray:
    return array.astype(np.float64)


def summary_of(layer: NormLayer, values: LayerValues) -> LayerSummary:
    """Return the line of a table about a layer."""
    row = row_of(layer.dialect)
    defaults = {name: option.default for name, option in options_of(row).items()}
    options = {**defaults, **layer.options}
    return LayerSummary(
        name=layer.name,
        dialect=layer.dialect,
        channels=layer.channels,
        eps=_number(options, row.eps.known.name),
        momentum=_number(options, row.momentum.known.name),
        estimator=row.running_var.known,
        gamma=None if values.gamma is None else _range(values.gamma),
        mean=_range(values.mean),
        var=_range(values.var),
        assumed=assumed_of(layer),
    )


def _number(options: Mapping[str, object], name: str | None) -> float | None:
    value = options.get(str(name))
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _range(values: Float64Array) -> Range:
    return (float(values.min()), float(values.max())) if values.size else (math.nan, math.nan)


def findings_of(layer: NormLayer, values: LayerValues) -> Iterator[FileFinding]:
    """Yield what is wrong with a layer, and what its file does not tell of it."""
    name = layer.name
    arrays = {"mean": values.mean, "var": values.var, "gamma": values.gamma, "beta": values.beta}
    for role, array in arrays.items():
        if array is not None and not np.isfinite(array).all():
            yield _of_channels("F01", name, f"NaN or infinity in {role}", ~np.isfinite(array))
    negative = below_zero(values.var) & np.isfinite(values.var)
    if negative.any():
        got = f"a variance of {values.var[negative].min():.3g}"
        yield _of_channels("F02", name, got, negative)
    if values.untouched:
        got = f"mean {values.mean.flat[0]:g} and variance {values.var.flat[0]:g} in all channels"
        yield FileFinding("F03", name, got)
    yield from _dead(name, values)
    estimator = ESTIMATOR in layer.untold
    options = {k: v for k, v in assumed_of(layer).items() if k != ESTIMATOR}
    if options:
        assumed = ", ".join(f"{key}={value}" for key, value in options.items())
        yield FileFinding("F08", name, f"assumed: {assumed}")
    if estimator:
        kind = row_of(layer.dialect).running_var.known
        yield FileFinding("F09", name, f"assumed: {layer.dialect}, whose variance is {kind}")


def _dead(name: str, values: LayerValues) -> Iterator[FileFinding]:
    if values.gamma is not None and (values.gamma == 0).any():
        yield _of_channels("F04", name, "gamma 0", values.gamma == 0)
    small = (values.var < values.eps) & ~below_zero(values.var)
    if small.any() and not values.untouched:
        got = f"a variance down to {values.var[small].min():.3g}, with eps {values.eps:g}"
        yield _of_channels("F05", name, got, small)


def _of_channels(code: str, layer: str, got: str, where: AnyArray) -> FileFinding:
    channels = tuple(map(int, np.flatnonzero(where)))
    if len(channels) == where.size:
        return FileFinding(code, layer, f"{got} in all {where.size} channels", channels)
    listed = ", ".join(map(str, channels[:MOST_CHANNELS]))
    more = f" and {len(channels) - MOST_CHANNELS} more" if len(channels) > MOST_CHANNELS else ""
    word = "channel" if len(channels) == 1 else "channels"
    return FileFinding(code, layer, f"{got} in {word} {listed}{more} of {where.size}", channels)
