"""The share of each path in the dx of a layer, for the x and dy that it received in the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from backnorm.audit.kinds import has_mean
from backnorm.audit.measure.forward_law import scatter
from backnorm.audit.measure.inputs import Draw
from backnorm.audit.measure.one_channel import one_channel
from backnorm.audit.measure.row_fit import GAMMA_LAWS, Line, fit_line
from backnorm.audit.measure.variance_rule import Observed, Root, find_root
from backnorm.audit.record import Coefficients
from backnorm.audit.thresholds import (
    CENTRE_LIMIT,
    COEFFICIENT_LIMIT,
    FROZEN_LIMIT,
    LINE_LIMIT,
    REST_LIMIT,
    VISIBLE_PATH,
)
from backnorm.torch.model.calls import replay

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm._types import Float64Array
    from backnorm.audit.record import Mode, Parts
    from backnorm.torch.model.calls import LayerCall

__all__ = ["CallFit", "fit_call"]

NO_SHARES: Final = Coefficients()


@dataclass(frozen=True, slots=True, eq=False)
class CallFit:
    """The measurements of one call.

    Attributes
    ----------
    n
        How many values share their statistics.
    mean, var
        Statistics of x in each row, shape (R, 1). [x], [x]^2
    mode
        Which statistics the layer normalizes with.
    straight
        Whether y is a linear function of x in each row; otherwise dx is not judged.
    root
        How inv_std follows from the variance; None if that is unknown.
    coefficients, residual
        Shares of the three paths in dx, and the size of what they do not explain relative to the
        direct path.
    right
        Whether dx is the derivative, as far as the paths can be measured; None without a gradient.
    parts
        One channel, for a drawing.
    """

    n: int
    mean: Float64Array
    var: Float64Array
    mode: Mode = "other"
    straight: bool = False
    root: Root | None = None
    coefficients: Coefficients = NO_SHARES
    residual: float | None = None
    right: bool | None = None
    parts: Parts | None = None


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
    shape = tuple(call.x.shape)
    where = call.layer.geometry(shape)
    x = where.rows(_array(call.x))
    own = scatter(call.layer.kind, x)
    fit = CallFit(where.n, own.mean, own.var)
    if call.y is None or call.y.shape != call.x.shape or where.n == 1 or not own.var.any():
        return fit
    parameters = {role: _array(value) for role, value in call.layer.parameters.items()}
    dy = np.zeros(shape) if call.dy is None else _array(call.dy)
    one = Draw(where, 1.0, _array(call.x), dy, parameters.get("gamma"), parameters.get("beta"))
    lines = {name: fit_line(one, _array(call.y), name) for name in GAMMA_LAWS}
    name, line = min(lines.items(), key=lambda pair: (pair[1].rest > LINE_LIMIT, 0))
    if line.rest > LINE_LIMIT:
        return fit
    mode, root = _mode(call, one, line, name)
    fit = replace(fit, straight=True, mode=mode, root=root)
    if call.dy is None or not call.dy.any():
        return fit
    return _with_paths(call, fit, line, where.rows(dy))


def _array(tensor: torch.Tensor) -> Any:
    return tensor.detach().cpu().double().numpy()


def _mode(call: LayerCall, one: Draw, line: Line, name: str) -> tuple[Mode, Root | None]:
    """Tell constants from the batch's statistics by a second x, twice as wide and shifted."""
    x = 2 * call.x + call.x.std()
    y = replay(call, x)
    if y is None:
        return "other", None
    other = replace(one, x=_array(x))
    second = fit_line(other, _array(y), name)
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
    root = find_root(Observed(var, n, slope, small), unbiased_too=has_mean(call.layer.kind))
    return ("other", None) if root is None else ("batch", root)


def _with_paths(call: LayerCall, fit: CallFit, line: Line, dy: Float64Array) -> CallFit:
    where = call.layer.geometry(tuple(call.x.shape))
    x = where.rows(_array(call.x))
    dx = np.zeros(x.shape) if call.dx is None else where.rows(_array(call.dx))
    paths = _paths(call, fit, line, x, dy)
    whole = sum(paths.values()) if fit.mode == "batch" else paths["direct"]
    length = np.linalg.norm(paths["direct"], axis=1, keepdims=True)
    alive = (length > 1e-9 * length.max()) & (fit.var > 0)
    weighted = {
        name: np.ravel(np.divide(rows, length, out=np.zeros_like(rows), where=alive))
        for name, rows in {**paths, "dx": dx, "difference": dx - whole}.items()
    }
    size = {name: float(np.linalg.norm(values)) for name, values in weighted.items()}
    rounding = _rounding(call, fit)
    seen = [p for p in paths if size[p] > max(VISIBLE_PATH, 100 * rounding) * size["direct"]]
    matrix = np.stack([weighted[name] for name in seen], axis=1)
    shares, _, rank, _ = np.linalg.lstsq(matrix, weighted["dx"], rcond=None)
    residual = float(np.linalg.norm(weighted["dx"] - matrix @ shares)) / size["direct"]
    known = dict(zip(seen, map(float, shares), strict=True)) if rank == len(seen) else {}
    expected = {"direct": 1.0, "mean": 1.0, "variance": 1.0}
    if fit.mode == "frozen":
        expected |= {"mean": 0.0, "variance": 0.0}
    allowed = {p: max(COEFFICIENT_LIMIT, 100 * rounding * size["direct"] / size[p]) for p in known}
    right = all(abs(known[p] - expected[p]) < allowed[p] for p in known)
    right &= size["difference"] / size["direct"] < max(REST_LIMIT, 100 * rounding) or bool(known)
    right &= residual < max(REST_LIMIT, 100 * rounding)
    return replace(
        fit,
        coefficients=Coefficients(**known),
        residual=residual,
        right=right if fit.mode != "other" else None,
        parts=one_channel(x, dx, paths),
    )


def _paths(
    call: LayerCall, fit: CallFit, line: Line, x: Float64Array, dy: Float64Array
) -> Mapping[str, Float64Array]:
    """Return D, M and V of Eq. (10) to (12) in docs/mathematics.md."""
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


def _rounding(call: LayerCall, fit: CallFit) -> float:
    """Return the rounding error of x - mean in the dtype of x, in standard deviations."""
    alive = fit.var > 0
    offset = np.abs(fit.mean[alive]) / np.sqrt(fit.var[alive])
    narrowest = min((call.x, call.y), key=lambda t: -torch.finfo(t.dtype).eps)  # type: ignore[union-attr]
    return float(torch.finfo(narrowest.dtype).eps * (1 + offset.max(initial=0.0)))  # type: ignore[union-attr]
