"""The share of each path in the dx of a layer, for the x and dy that it received in the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backnorm.audit.kinds import has_mean
from backnorm.audit.measure.one_channel import one_channel
from backnorm.audit.record import Coefficients
from backnorm.audit.thresholds import COEFFICIENT_LIMIT, RESIDUAL_LIMIT, VISIBLE_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from backnorm._types import Float64Array
    from backnorm.audit.kinds import Kind
    from backnorm.audit.measure.variance_rule import VarianceRule
    from backnorm.audit.record import ChannelParts

__all__ = ["NO_SHARES", "Passed", "Shares", "measure_shares"]

NO_SHARES: Final = Coefficients()


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """What passed a layer in both directions, in rows of shape (R, n).

    Attributes
    ----------
    kind
        The kind of the layer.
    x, dx
        Input, and the gradient that left.
    dy
        The gradient that arrived, before the activation if the layer has one.
    slope
        The layer's inv_std, shape (R, 1). 1/[x]
    gamma
        What it multiplies by.
    mean, var
        Statistics of x, shape (R, 1).
    rule
        How inv_std follows from the variance; None for constants.
    clear
        The elements to compare: next to a kink of the activation, rounding decides.
    rounding
        Rounding error of x - mean, in standard deviations.
    """

    kind: Kind
    x: Float64Array
    dx: Float64Array
    dy: Float64Array
    slope: Float64Array
    gamma: Float64Array
    mean: Float64Array
    var: Float64Array
    rule: VarianceRule | None
    clear: npt.NDArray[np.bool_]
    rounding: float


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """The shares of the paths in dx.

    Attributes
    ----------
    coefficients, residual
        The shares, and what they leave, relative to the direct path; None where dx is not finite.
    right
        Whether dx is the derivative, as far as the paths can be measured.
    parts
        One channel, for a drawing.
    unseen
        The paths that are too small to be measured: dx says nothing about them.
    """

    coefficients: Coefficients
    residual: float | None
    right: bool
    parts: ChannelParts | None
    unseen: tuple[str, ...] = ()


def measure_shares(passed: Passed) -> Shares | None:
    """Measure the share of each path in dx.

    Parameters
    ----------
    passed
        What passed the layer.

    Returns
    -------
    Shares or None
        None if the direct path is 0 everywhere.
    """
    if not np.isfinite(passed.dx).all():
        return Shares(NO_SHARES, None, right=False, parts=None)
    paths, batch = _paths(passed), passed.rule is not None
    weighted = _weighted(passed, paths, batch=batch)
    size = {name: float(np.linalg.norm(values)) for name, values in weighted.items()}
    whole = size["direct"]
    if not whole:
        return None
    floor = 100 * passed.rounding
    visible = max(VISIBLE_PATH, floor)
    unseen = tuple(path for path in paths if size[path] <= visible * whole)
    expected = {"direct": 1.0, "mean": float(batch), "variance": float(batch)}
    # What cannot be measured counts as right, or the others would have to explain it.
    target = weighted["dx"] - sum(expected[path] * weighted[path] for path in unseen)
    seen = {path: weighted[path] for path in paths if path not in unseen}
    known = _solved(seen, target, visible)
    explained = sum(share * seen[path] for path, share in known.items())
    left = target - explained if known else weighted["difference"]
    residual = float(np.linalg.norm(left)) / whole
    allowed = {path: max(COEFFICIENT_LIMIT, floor * whole / size[path]) for path in known}
    right = all(abs(known[path] - expected[path]) < allowed[path] for path in known)
    right &= residual < max(RESIDUAL_LIMIT, floor)
    parts = one_channel(passed.x, passed.dx, paths)
    return Shares(Coefficients(**known), residual, right, parts, unseen)


def _solved(
    paths: Mapping[str, Float64Array], dx: Float64Array, visible: float
) -> dict[str, float]:
    """Return the share of each path; none where paths cancel, as where dy is a multiple of x.

    Then dx can still be compared with their sum.
    """
    if not paths:
        return {}
    shares, _, rank, _ = np.linalg.lstsq(np.stack([*paths.values()], axis=1), dx, rcond=visible)
    return dict(zip(paths, map(float, shares), strict=True)) if rank == len(paths) else {}


def _weighted(
    passed: Passed, paths: Mapping[str, Float64Array], *, batch: bool
) -> dict[str, Float64Array]:
    """Divide each row by its direct path, so that all rows count alike."""
    whole = sum(paths.values()) if batch else paths["direct"]
    length = np.linalg.norm(paths["direct"], axis=1, keepdims=True)
    alive = (length > 1e-9 * length.max()) & (passed.var > 0) & passed.clear
    vectors = {**paths, "dx": passed.dx, "difference": passed.dx - whole}
    return {
        name: np.ravel(np.divide(rows, length, out=np.zeros(rows.shape), where=alive))
        for name, rows in vectors.items()
    }


def _paths(passed: Passed) -> Mapping[str, Float64Array]:
    """Return D, M and V of Eq. (10) to (12) in docs/mathematics.md."""
    x, rule, n = passed.x, passed.rule, passed.x.shape[1]
    direct = passed.gamma * passed.slope * passed.dy
    x_hat = (x - passed.mean) * passed.slope
    var = np.maximum(passed.var, 1e-300)
    divisor = float(n) if rule is None else rule.divisor(n)
    steepness: Any = 1.0 if rule is None else rule.steepness(var, n)
    along = np.sum(direct * x_hat, axis=1, keepdims=True) / divisor
    mean = np.broadcast_to(-direct.mean(axis=1, keepdims=True), x.shape)
    paths = {"direct": direct, "mean": mean, "variance": -x_hat * along * steepness}
    if not has_mean(passed.kind):
        del paths["mean"]
    return paths
