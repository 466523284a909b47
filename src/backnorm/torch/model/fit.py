"""How much of each path is in what really left a layer, for the x and dy that it really got."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from backnorm.audit.kinds import has_mean
from backnorm.audit.measure.forward_law import scatter
from backnorm.audit.measure.inputs import Inputs
from backnorm.audit.measure.one_channel import one_channel
from backnorm.audit.measure.row_fit import GAMMA_LAWS, RowFit, fit_rows
from backnorm.audit.measure.variance_rule import Observed, VarianceRule, find_variance_rule
from backnorm.audit.record import Coefficients
from backnorm.audit.thresholds import (
    CENTRE_LIMIT,
    COEFFICIENT_LIMIT,
    FROZEN_LIMIT,
    RESIDUAL_LIMIT,
    ROW_FIT_LIMIT,
    VISIBLE_PATH,
)
from backnorm.torch.model.calls import replay

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm._types import Float64Array
    from backnorm.audit.record import ChannelParts, Mode
    from backnorm.torch.model.calls import Call

__all__ = ["Fit", "fit_call"]

NO_SHARES: Final = Coefficients()


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """What was measured of one call.

    Attributes
    ----------
    n
        How many values share their statistics.
    mean, var
        Statistics of x in each row, shape (R, 1). [x], [x]^2
    mode
        What it normalizes with.
    straight
        Whether y is a straight line in x in each row: else nothing is said about dx.
    root
        How inv_std follows from the variance, where that is known.
    coefficients, rest
        Shares of the three paths in dx, and what they leave, relative to the direct one.
    right
        Whether dx is the derivative, as far as the paths can be seen; None if nothing arrived.
    parts
        One channel, for a drawing.
    """

    n: int
    mean: Float64Array
    var: Float64Array
    mode: Mode = "other"
    straight: bool = False
    root: VarianceRule | None = None
    coefficients: Coefficients = NO_SHARES
    rest: float | None = None
    right: bool | None = None
    parts: ChannelParts | None = None


def fit_call(call: Call) -> Fit:
    """Measure one call.

    Parameters
    ----------
    call
        What went in and came out. The layer runs once more, on another x.

    Returns
    -------
    Fit
        The numbers.

    Notes
    -----
    Accuracy: the paths are built in float64 from the slope and centre that the layer used. Rounding
    of x's format, times the offset, limits what can be told; a path smaller than that has no share.
    """
    shape = tuple(call.x.shape)
    where = call.layer.geometry(shape)
    x = where.rows(_array(call.x))
    own = scatter(call.layer.kind, x)
    fit = Fit(where.n, own.mean, own.var)
    if call.y is None or call.y.shape != call.x.shape or where.n == 1 or not own.var.any():
        return fit
    parameters = {role: _array(value) for role, value in call.layer.parameters.items()}
    dy = np.zeros(shape) if call.dy is None else _array(call.dy)
    one = Inputs(where, 1.0, _array(call.x), dy, parameters.get("gamma"), parameters.get("beta"))
    lines = {name: fit_rows(one, _array(call.y), name) for name in GAMMA_LAWS}
    name, line = min(lines.items(), key=lambda pair: (pair[1].residual > ROW_FIT_LIMIT, 0))
    if line.residual > ROW_FIT_LIMIT:
        return fit
    mode, root = _mode(call, one, line, name)
    fit = replace(fit, straight=True, mode=mode, root=root)
    if call.dy is None or not call.dy.any():
        return fit
    return _with_paths(call, fit, line, where.rows(dy))


def _array(tensor: torch.Tensor) -> Any:
    return tensor.detach().cpu().double().numpy()


def _mode(call: Call, one: Inputs, line: RowFit, name: str) -> tuple[Mode, VarianceRule | None]:
    """Tell constants from the batch's statistics by a second x, twice as wide and shifted."""
    x = 2 * call.x + call.x.std()
    y = replay(call, x)
    if y is None:
        return "other", None
    other = replace(one, x=_array(x))
    second = fit_rows(other, _array(y), name)
    # An intercept may well be 0: what counts is its size beside that of x times the slope.
    size = float(np.abs(one.x).max()) * float(np.abs(line.slope).max())
    moved = np.abs(line.intercept - second.intercept).max()
    turned = np.abs(line.slope - second.slope).max()
    if turned <= FROZEN_LIMIT * np.abs(line.slope).max() and moved <= FROZEN_LIMIT * size:
        return "frozen", None
    rows = [draw.geometry.rows(draw.x) for draw in (one, other)]
    both = [scatter(call.layer.kind, r) for r in rows]
    kept = [s.var[:, 0] > 0 for s in both]
    if any(
        np.abs((a.centre - s.mean) * a.slope).max(initial=0.0, where=k[:, None]) > CENTRE_LIMIT
        for a, s, k in zip((line, second), both, kept, strict=True)
    ):
        return "other", None
    var = np.concatenate([s.var[k] for s, k in zip(both, kept, strict=True)])
    slope = np.concatenate([a.slope[k] for a, k in zip((line, second), kept, strict=True)])
    if not (slope > 0).all():
        return "other", None
    n = np.full(var.shape, float(rows[0].shape[1]))
    small = var <= np.quantile(var, 0.2)
    root = find_variance_rule(
        Observed(var, n, slope, small), unbiased_too=has_mean(call.layer.kind)
    )
    return ("other", None) if root is None else ("batch", root)


def _with_paths(call: Call, fit: Fit, line: RowFit, dy: Float64Array) -> Fit:
    where = call.layer.geometry(tuple(call.x.shape))
    x = where.rows(_array(call.x))
    got = np.zeros(x.shape) if call.dx is None else where.rows(_array(call.dx))
    paths = _paths(call, fit, line, x, dy)
    whole = sum(paths.values()) if fit.mode == "batch" else paths["direct"]
    length = np.linalg.norm(paths["direct"], axis=1, keepdims=True)
    alive = (length > 1e-9 * length.max()) & (fit.var > 0)
    weighted = {
        name: np.ravel(np.divide(rows, length, out=np.zeros_like(rows), where=alive))
        for name, rows in {**paths, "got": got, "left": got - whole}.items()
    }
    size = {name: float(np.linalg.norm(values)) for name, values in weighted.items()}
    rounding = _rounding(call, fit)
    seen = [p for p in paths if size[p] > max(VISIBLE_PATH, 100 * rounding) * size["direct"]]
    matrix = np.stack([weighted[name] for name in seen], axis=1)
    shares, _, rank, _ = np.linalg.lstsq(matrix, weighted["got"], rcond=None)
    rest = float(np.linalg.norm(weighted["got"] - matrix @ shares)) / size["direct"]
    known = dict(zip(seen, map(float, shares), strict=True)) if rank == len(seen) else {}
    want = {"direct": 1.0, "mean": 1.0, "variance": 1.0}
    if fit.mode == "frozen":
        want |= {"mean": 0.0, "variance": 0.0}
    allowed = {p: max(COEFFICIENT_LIMIT, 100 * rounding * size["direct"] / size[p]) for p in known}
    right = all(abs(known[p] - want[p]) < allowed[p] for p in known)
    right &= size["left"] / size["direct"] < max(RESIDUAL_LIMIT, 100 * rounding) or bool(known)
    right &= rest < max(RESIDUAL_LIMIT, 100 * rounding)
    return replace(
        fit,
        coefficients=Coefficients(**known),
        rest=rest,
        right=right if fit.mode != "other" else None,
        parts=one_channel(x, got, paths),
    )


def _paths(
    call: Call, fit: Fit, line: RowFit, x: Float64Array, dy: Float64Array
) -> Mapping[str, Float64Array]:
    """D, M and V: equations 10 to 12 of docs/mathematics.md."""
    n = x.shape[1]
    direct = line.gamma * line.slope * dy
    x_hat = (x - fit.mean) * line.slope
    divisor = float(n) if fit.root is None else fit.root.divisor(n)
    steepness: Any = 1.0 if fit.root is None else fit.root.steepness(np.maximum(fit.var, 1e-300), n)
    along = np.sum(direct * x_hat, axis=1, keepdims=True) / divisor
    mean = np.broadcast_to(-direct.mean(axis=1, keepdims=True), x.shape)
    paths = {"direct": direct, "mean": mean, "variance": -x_hat * along * steepness}
    if not has_mean(call.layer.kind):
        del paths["mean"]
    return paths


def _rounding(call: Call, fit: Fit) -> float:
    """What x's format leaves uncertain of x - mean, relative to the standard deviation."""
    alive = fit.var > 0
    offset = np.abs(fit.mean[alive]) / np.sqrt(fit.var[alive])
    narrowest = min((call.x, call.y), key=lambda t: -torch.finfo(t.dtype).eps)  # type: ignore[union-attr]
    return float(torch.finfo(narrowest.dtype).eps * (1 + offset.max(initial=0.0)))  # type: ignore[union-attr]
