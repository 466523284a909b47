"""The three paths of the gradient, and how much of each is in a subject's dx."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.kinds import has_mean
from backnorm.audit.measure.forward_law import scatter
from backnorm.audit.measure.inputs import draw
from backnorm.audit.measure.known_faults import SUSPECTS
from backnorm.audit.measure.one_channel import one_channel
from backnorm.audit.measure.row_fit import fit_line
from backnorm.audit.record import Coefficients

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import Float64Array
    from backnorm.audit.measure.forward_law import Law
    from backnorm.audit.measure.inputs import Draw
    from backnorm.audit.record import Parts as Drawn
    from backnorm.audit.subject import Subject
    from backnorm.audit.subjects.runner import Run

__all__ = ["Fit", "Parts", "fit_paths"]

BATCHES: Final = (5, 16, 5, 16)
"""Enough samples that the three paths are far from parallel; two sizes, so that a wrong n shows."""

DEAD: Final = 1e-9
"""Rows whose direct path is this much smaller than others' say nothing: a relu shut them off."""


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The paths of dx in one draw, built with the subject's own statistics; shapes (R, n).

    Attributes
    ----------
    direct, mean, variance
        D, M and V; equations 10 to 12 of docs/mathematics.md.
    x_hat
        The subject's own normalized input.
    x, dy, gamma
        What it was given.
    inv_std, centre
        What it used; shapes (R, 1).
    batch_mean, batch_var
        What the batch has; shapes (R, 1).
    divisor
        n or n - 1, whichever its variance is divided by.
    steepness
        d(inv_std)/d(var), relative to that of eps inside the root; shape (R, 1).
    dx
        What it returned.
    """

    direct: Float64Array
    mean: Float64Array
    variance: Float64Array
    x_hat: Float64Array
    x: Float64Array
    dy: Float64Array
    gamma: Float64Array
    inv_std: Float64Array
    centre: Float64Array
    batch_mean: Float64Array
    batch_var: Float64Array
    divisor: float
    steepness: Float64Array
    dx: Float64Array


@dataclass(frozen=True, slots=True)
class Fit:
    """How much of each path is in dx.

    Attributes
    ----------
    coefficients
        Least squares over all draws and rows.
    unexplained
        What they leave of dx, relative to the direct path.
    suspects
        For each known fault: what dx differs from the dx that fault makes, likewise.
    y_error
        What y differs from the forward law, relative to y.
    drawn
        One channel of a larger batch, for a drawing.
    """

    coefficients: Coefficients
    unexplained: float
    suspects: Mapping[str, float]
    y_error: float
    drawn: Drawn


def fit_paths(subject: Subject, law: Law, rng: np.random.Generator, dtype: str) -> Fit:
    """Fit the shares of D, M and V in the subject's dx.

    Parameters
    ----------
    subject
        The black box.
    law
        Its forward law, from `recover_law`.
    rng
        Where the draws come from.
    dtype
        Format of the draws.

    Returns
    -------
    Fit
        The shares and the rest.
    """
    draws = [draw(subject, rng, dtype, batch=batch, groups=law.groups) for batch in BATCHES]
    runs = [one.run(subject) for one in draws]
    parts = [_parts(subject, law, one, run) for one, run in zip(draws, runs, strict=True)]
    coefficients, rest = _least_squares(parts, with_mean=has_mean(subject.kind))
    return Fit(
        coefficients,
        rest,
        {name: _rest([p.dx - make(p) for p in parts], parts) for name, make in SUSPECTS.items()},
        max(_y_error(law, p, one, run) for p, one, run in zip(parts, draws, runs, strict=True)),
        _drawn(parts[int(np.argmax(BATCHES))], with_mean=has_mean(subject.kind)),
    )


def _parts(subject: Subject, law: Law, one: Draw, run: Run) -> Parts:
    line = fit_line(one, run.y, law.gamma_law)
    x, dy = one.geometry.rows(one.x), one.geometry.rows(one.dy)
    own = scatter(subject.kind, x)
    n = x.shape[1]
    divisor = float(n) if law.root is None else law.root.divisor(n)
    x_hat = (x - line.centre) * line.slope
    direct = line.gamma * line.slope * dy
    steepness = np.ones_like(own.var) if law.root is None else law.root.steepness(own.var, n)
    # Where y blends constants with the batch's statistics, x moves only the batch's share.
    moved = x_hat if law.mode == "frozen" else (x - own.mean) * line.slope
    along = np.sum(direct * x_hat, axis=1, keepdims=True) / divisor
    return Parts(
        direct=direct,
        mean=np.broadcast_to(-direct.mean(axis=1, keepdims=True), x.shape),
        variance=-moved * along * steepness,
        x_hat=x_hat,
        x=x,
        dy=dy,
        gamma=line.gamma,
        inv_std=line.slope,
        centre=line.centre,
        batch_mean=own.mean,
        batch_var=own.var,
        divisor=divisor,
        steepness=steepness,
        dx=one.geometry.rows(run.dx),
    )


def _drawn(one: Parts, *, with_mean: bool) -> Drawn:
    paths = {"direct": one.direct, "variance": one.variance}
    return one_channel(one.x, one.dx, {**paths, "mean": one.mean} if with_mean else paths)


def _least_squares(parts: Sequence[Parts], *, with_mean: bool) -> tuple[Coefficients, float]:
    """Solve for the shares, each row weighted so that its direct path has length 1."""
    names = ("direct", "mean", "variance") if with_mean else ("direct", "variance")
    columns = [np.concatenate([_weighted(getattr(p, name), p) for p in parts]) for name in names]
    target = np.concatenate([_weighted(p.dx, p) for p in parts])
    matrix = np.stack(columns, axis=1)
    shares, _, rank, _ = np.linalg.lstsq(matrix, target, rcond=None)
    left = target - matrix @ shares
    rest = _size([left]) / _size([columns[0]])
    if rank < len(names):
        return Coefficients(), rest
    return Coefficients(**dict(zip(names, map(float, shares), strict=True))), rest


_TINY: Final = float(np.finfo(np.float64).tiny)


def _rest(left: Sequence[Float64Array], parts: Sequence[Parts]) -> float:
    """Size of what is left, relative to the direct path."""
    pairs = zip(left, parts, strict=True)
    return _size([_weighted(r, p) for r, p in pairs]) / _size(
        [_weighted(p.direct, p) for p in parts]
    )


def _weighted(rows: Float64Array, parts: Parts) -> Float64Array:
    """Rows over the length of their direct path, and 0 where y does not depend on x at all."""
    length = np.linalg.norm(parts.direct, axis=1, keepdims=True)
    alive = length > DEAD * length.max()
    return np.ravel(np.divide(rows, length, out=np.zeros_like(rows), where=alive))


def _size(columns: Sequence[Float64Array]) -> float:
    return max(float(np.linalg.norm(np.concatenate(columns))), _TINY)


def _y_error(law: Law, parts: Parts, one: Draw, run: Run) -> float:
    """Largest difference of y from the law, relative to the largest |y|."""
    inv_std, centre = parts.inv_std, parts.centre
    if law.root is not None:
        inv_std, centre = law.root.inv_std(parts.batch_var, parts.x.shape[1]), parts.batch_mean
    y = one.geometry.rows(run.y)
    want = parts.gamma * (parts.x - centre) * inv_std + one.geometry.spread(one.beta, 0.0)
    return float(np.abs(y - want).max()) / max(float(np.abs(y).max()), _TINY)
