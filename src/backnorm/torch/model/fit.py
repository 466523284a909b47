"""What is measured of one call of a layer: its statistics, its mode, and the paths in its dx."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from backnorm.audit.kinds import has_mean
from backnorm.audit.measure.activations import smooth
from backnorm.audit.measure.forward_law import scatter
from backnorm.audit.measure.inputs import Inputs
from backnorm.audit.measure.lines import find_lines, same_lines
from backnorm.audit.measure.variance_rule import Observed, VarianceRule, find_variance_rule
from backnorm.audit.thresholds import CENTRE_LIMIT, FEW_VALUES, FROZEN_LIMIT
from backnorm.torch.model.activations import parts
from backnorm.torch.model.readings import readings, usual_reading
from backnorm.torch.model.reruns import replay
from backnorm.torch.model.shares import NO_SHARES, Passed, measure_shares

if TYPE_CHECKING:
    import numpy.typing as npt

    from backnorm._types import Float64Array
    from backnorm.audit.kinds import Geometry, Kind
    from backnorm.audit.measure.forward_law import Scatter
    from backnorm.audit.measure.lines import Lines
    from backnorm.audit.record import ChannelParts, Coefficients, Mode
    from backnorm.torch.model.calls import LayerCall
    from backnorm.torch.model.readings import Reading

__all__ = ["CONSTANT_ROWS", "FLAT", "NO_LINE", "OTHER_STATISTICS", "CallFit", "fit_call"]

FLAT: Final = "y does not depend on x"
"""Why a layer whose gamma is 0, or whose output is clipped altogether, was not judged."""

NO_LINE: Final = (
    "y is not a linear function of x in each row, nor a known activation of such a function"
)
CONSTANT_ROWS: Final = "each row of x is constant"
"""Why a call was not judged whose x says nothing, as that of a state that begins with zeros."""

OTHER_STATISTICS: Final = "its statistics are neither those of the batch nor constants"
"""Why a layer whose law was not found was not judged."""


@dataclass(frozen=True, slots=True, eq=False)
class CallFit:
    """The measurements of one call.

    Attributes
    ----------
    kind
        The kind of normalization that it was judged as.
    n
        How many values share their statistics.
    mean, var
        Statistics of x in each row, shape (R, 1). [x], [x]^2
    mode
        Which statistics the layer normalizes with.
    activation
        Name of the activation within the layer; empty without an activation.
    variance_rule
        How inv_std follows from the variance; None if that is unknown.
    coefficients, residual
        Shares of the three paths in dx, and the size of what they do not explain relative to the
        direct path.
    right
        Whether dx is the derivative, as far as the paths can be measured; None if it was not
        judged.
    why
        Why it was not judged.
    idle
        Whether it was not judged because no gradient, or no finite number, passed the layer.
    parts
        One channel, for a drawing.
    unseen
        The paths in dx that are too small to be measured.
    note
        What is worth knowing about the kind.
    where
        How x is divided into rows; None if that is not known.
    """

    kind: Kind
    n: int
    mean: Float64Array
    var: Float64Array
    mode: Mode = "other"
    activation: str = ""
    variance_rule: VarianceRule | None = None
    coefficients: Coefficients = NO_SHARES
    residual: float | None = None
    right: bool | None = None
    why: str = ""
    idle: bool = False
    parts: ChannelParts | None = None
    unseen: tuple[str, ...] = ()
    note: str = ""
    where: Geometry | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """An x and its y, in which rows that are not finite are 0.

    Attributes
    ----------
    reading
        The kind, and how they are divided into rows.
    inputs, y
        What the layer received and returned.
    rows
        x as rows.
    own
        Statistics of the rows.
    usable
        Which rows are finite and vary in x, shape (R,).
    """

    reading: Reading
    inputs: Inputs
    y: Float64Array
    rows: Float64Array
    own: Scatter
    usable: npt.NDArray[np.bool_]


def fit_call(call: LayerCall) -> CallFit:
    """Measure one call.

    Parameters
    ----------
    call
        The recorded call. The layer runs once more, on another x.

    Returns
    -------
    CallFit
        The measurements.

    Notes
    -----
    Accuracy: the paths are built in float64 from the slope and centre that the layer used. The
    rounding of x's dtype, times the offset, limits the precision; a smaller path has no share.
    """
    call.before.restore()  # another call may have changed it
    nothing = np.zeros((0, 1))
    if call.y is None or call.y.shape != call.x.shape:
        why = "its output does not have the shape of its input"
        why = "its output is not a tensor of floating-point numbers" if call.y is None else why
        return CallFit(call.layer.kind, _usual_n(call), nothing, nothing, why=why)
    first = None
    for reading in readings(call.layer, tuple(call.x.shape)):
        fit = _fit_as(call, reading, call.y)
        if fit.mode != "other" or fit.idle:
            return replace(fit, note=reading.note, where=reading.geometry)
        first = first or fit
    none = CallFit(call.layer.kind, 0, nothing, nothing, why="x has no axes that it could share")
    return first or none


def _usual_n(call: LayerCall) -> int:
    usual = usual_reading(call.layer, tuple(call.x.shape))
    return 0 if usual is None else usual.geometry.n


def _fit_as(call: LayerCall, reading: Reading, y: torch.Tensor) -> CallFit:
    """Measure a call of a layer as one of a kind, with its axes in an order."""
    where = reading.geometry
    own = scatter(reading.kind, where.rows(_array(call.x)))
    fit = CallFit(reading.kind, where.n, own.mean, own.var)
    if where.n == 1 or not own.var.any():
        few = where.n <= FEW_VALUES
        return replace(fit, why=_too_few(where.n) if few else CONSTANT_ROWS)
    sample = _sampled(call, reading, call.x, y)
    if not sample.usable.any():
        return replace(fit, why="x or y is not finite", idle=True)
    if _is_flat(call, sample):
        return replace(fit, why=FLAT, idle=True)
    fit = _with_lines(call, fit, sample)
    few = fit.right is None and where.n <= FEW_VALUES
    return replace(fit, why=_too_few(where.n)) if few else fit


def _too_few(n: int) -> str:
    return f"each statistic has {n} values, which are too few"


def _sampled(call: LayerCall, reading: Reading, x: torch.Tensor, y: torch.Tensor) -> _Sample:
    """Arrange an x and its y."""
    where = reading.geometry
    x_rows, y_rows = where.rows(_array(x)), where.rows(_array(y))
    finite = np.isfinite(x_rows + y_rows).all(axis=1, keepdims=True)
    x_rows, y_rows = (np.where(finite, rows, 0.0) for rows in (x_rows, y_rows))
    own, plain = scatter(reading.kind, x_rows), where.from_rows(x_rows)
    size = math.prod(where.parameter_view)
    parameters = {
        role: np.broadcast_to(_array(value).ravel(), size)
        for role, value in call.layer.parameters.items()
    }
    gamma, beta = parameters.get("gamma"), parameters.get("beta")
    inputs = Inputs(where, 1.0, plain, plain, gamma, beta)
    usable: npt.NDArray[np.bool_] = np.ravel(finite) & (own.var[:, 0] > 0)
    return _Sample(reading, inputs, where.from_rows(y_rows), x_rows, own, usable)


def _array(tensor: torch.Tensor) -> Any:
    return tensor.detach().cpu().double().numpy()


def _is_flat(call: LayerCall, sample: _Sample) -> bool:
    """Tell a layer whose y is the same for every x: gamma is 0, or all of y is clipped."""
    rows = sample.inputs.geometry.rows(sample.y)[sample.usable]
    if sample.reading.kind in ("batch", "instance"):
        return bool((np.ptp(rows, axis=1) == 0).all())
    # gamma and beta differ within a row: y is then the same in all samples, and x is not.
    same_y, same_x = (
        bool((np.ptp(values, axis=0) == 0).all()) for values in (sample.y, sample.inputs.x)
    )
    return len(call.x) > 1 and same_y and not same_x


def _with_lines(call: LayerCall, fit: CallFit, sample: _Sample) -> CallFit:
    """Find the lines from x to y, and what they say."""
    why = NO_LINE
    x = 2 * call.x + torch.nan_to_num(call.x).std()
    y = replay(call, x)
    if y is None:
        return replace(fit, why="a second call returned no tensor")
    other = _sampled(call, sample.reading, x, y)
    own = parts(call.layer, sample.inputs.geometry)
    for lines in find_lines(sample.inputs, sample.y, own):
        why = OTHER_STATISTICS
        others = same_lines(lines, other.inputs, other.y)
        if others is None:
            continue
        mode, rule = _mode((sample, other), (lines, others))
        if mode != "other":
            activation = "" if lines.activation is None else lines.activation.name
            fit = replace(fit, mode=mode, variance_rule=rule, activation=activation)
            return _with_paths(call, fit, sample, lines)
    return replace(fit, why=why)


def _mode(
    samples: tuple[_Sample, _Sample], both: tuple[Lines, Lines]
) -> tuple[Mode, VarianceRule | None]:
    """Tell constants from the batch's statistics by a second x, twice as wide and shifted."""
    kept = np.logical_and.reduce([s.usable for s in samples] + [lines.known for lines in both])
    if not kept.any():
        return "other", None
    (slope, second), (centre, moved) = (
        [getattr(a, n)[kept] for a in both] for n in ("slope", "centre")
    )
    # An intercept may well be 0: what counts is its size beside that of x times the slope.
    size = float(np.abs(samples[0].rows[kept]).max()) * float(np.abs(slope).max())
    shifted = np.abs(slope * centre - second * moved).max()
    turned = np.abs(slope - second).max()
    if turned <= FROZEN_LIMIT * np.abs(slope).max() and shifted <= FROZEN_LIMIT * size:
        return "frozen", None
    own = [sample.own for sample in samples]
    off = [
        np.abs((c - s.mean[kept]) * a).max()
        for c, a, s in zip((centre, moved), (slope, second), own, strict=True)
    ]
    slopes = np.concatenate([slope, second])
    if max(off) > CENTRE_LIMIT or not (slopes > 0).all():
        return "other", None
    var = np.concatenate([s.var[kept] for s in own])
    n = np.full(var.shape, float(samples[0].rows.shape[1]))
    observed = Observed(var, n, slopes, var <= np.quantile(var, 0.2))
    rule = find_variance_rule(observed, unbiased_too=has_mean(samples[0].reading.kind))
    return ("other", None) if rule is None else ("batch", rule)


def _with_paths(call: LayerCall, fit: CallFit, sample: _Sample, lines: Lines) -> CallFit:
    """Measure the paths in those rows whose line and whose gradient are known."""
    where = sample.inputs.geometry
    dy, dx = (
        np.zeros(sample.rows.shape) if gradient is None else where.rows(_array(gradient))
        for gradient in (call.dy, call.dx)
    )
    kept = sample.usable & lines.known & np.isfinite(dy).all(axis=1)
    clear = np.ones(dy.shape, bool)
    if lines.activation is not None:
        dy = dy * lines.activation.slope(lines.u)
        clear = smooth(lines.activation, lines.u)
    if not dy[kept].any():
        words = "no gradient arrived at its output" if call.dy is None else "the gradient is 0"
        return replace(fit, why=words, idle=True)
    own = sample.own
    passed = Passed(
        kind=fit.kind,
        x=sample.rows[kept],
        dx=dx[kept],
        dy=dy[kept],
        slope=lines.slope[kept],
        gamma=lines.gamma[kept],
        mean=own.mean[kept],
        var=own.var[kept],
        rule=fit.variance_rule,
        clear=clear[kept],
        rounding=_rounding(call, own.mean[kept], own.var[kept]),
    )
    shares = measure_shares(passed)
    if shares is None:
        return replace(fit, why="the gradient is 0", idle=True)
    return replace(
        fit,
        coefficients=shares.coefficients,
        residual=shares.residual,
        right=shares.right,
        parts=shares.parts,
        unseen=shares.unseen,
    )


def _rounding(call: LayerCall, mean: Float64Array, var: Float64Array) -> float:
    """Return the rounding error of x - mean in the dtype of x, in standard deviations."""
    offset = np.abs(mean) / np.sqrt(var)
    narrowest = min((call.x, call.y), key=lambda t: -torch.finfo(t.dtype).eps)  # type: ignore[union-attr]
    return float(torch.finfo(narrowest.dtype).eps * (1 + offset.max(initial=0.0)))  # type: ignore[union-attr]
