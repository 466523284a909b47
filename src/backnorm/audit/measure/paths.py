"""How much of each path, D, M and V, is in a subject's dx."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.kinds import has_mean
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.measure.known_faults import KNOWN_FAULTS
from backnorm.audit.measure.one_channel import one_channel
from backnorm.audit.measure.parts import path_parts
from backnorm.audit.record import Coefficients

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import Float64Array
    from backnorm.audit.measure.forward_law import ForwardLaw
    from backnorm.audit.measure.inputs import Inputs
    from backnorm.audit.measure.parts import PathParts
    from backnorm.audit.record import ChannelParts
    from backnorm.audit.subject import Subject
    from backnorm.audit.subjects.runner import Run

__all__ = ["PathFit", "fit_paths"]

BATCHES: Final = (5, 16, 5, 16)
"""Enough samples that the three paths are far from parallel; two sizes, so that a wrong n shows."""

DEAD: Final = 1e-9
"""A row whose direct path is this much smaller than the largest is left out: a relu cut it off."""


@dataclass(frozen=True, slots=True)
class PathFit:
    """How much of each path is in dx.

    Attributes
    ----------
    coefficients
        Least squares over all inputs and rows.
    residual
        What the paths leave of dx, relative to the direct path.
    known_faults
        For each known fault: the difference of dx from the dx that this fault makes, likewise.
    y_error
        The difference of y from the forward law, relative to y.
    channel
        One channel of a larger batch, for a drawing.
    """

    coefficients: Coefficients
    residual: float
    known_faults: Mapping[str, float]
    y_error: float
    channel: ChannelParts


def fit_paths(subject: Subject, law: ForwardLaw, rng: np.random.Generator, dtype: str) -> PathFit:
    """Fit the shares of D, M and V in the subject's dx.

    Parameters
    ----------
    subject
        The black box.
    law
        Its forward law, from `recover_forward_law`.
    rng
        Source of the random inputs.
    dtype
        Dtype of the inputs.

    Returns
    -------
    PathFit
        The shares and the residual.
    """
    # A right dx is D + M + V, and a statistic that was cut out of the gradient lacks its path. So
    # everything revolves around three numbers: how much of D, of M and of V is in dx.
    #
    # What forces the choices: the paths are built with the inv_std, centre and divisor that the
    # subject itself used, not with what the batch has. Otherwise an unbiased variance, an eps
    # outside the root or a blend of statistics would leave a residual, and look like a fault.
    # All rows are solved for together, each weighted to a direct path of length 1, so that a
    # channel with a large gamma does not outweigh the others.
    #
    # Right layers then leave 5e-7 of dx to rounding, faults 1e-2 and more. The faults that are not
    # a share of a path (a wrong divisor, a forgotten gamma) are compared one by one.
    drawn = [draw_inputs(subject, rng, dtype, batch=b, groups=law.groups) for b in BATCHES]
    runs = [inputs.run(subject) for inputs in drawn]
    parts = [path_parts(subject, law, inputs, run) for inputs, run in zip(drawn, runs, strict=True)]
    with_mean = has_mean(subject.kind)
    coefficients, residual = _least_squares(parts, with_mean=with_mean)
    return PathFit(
        coefficients,
        residual,
        {
            name: _residual([p.dx - dx(p) for p in parts], parts)
            for name, dx in KNOWN_FAULTS.items()
        },
        max(
            _y_error(law, p, inputs, run) for p, inputs, run in zip(parts, drawn, runs, strict=True)
        ),
        _channel(parts[int(np.argmax(BATCHES))], with_mean=with_mean),
    )


def _channel(parts: PathParts, *, with_mean: bool) -> ChannelParts:
    paths = {"direct": parts.direct, "variance": parts.variance}
    return one_channel(parts.x, parts.dx, {**paths, "mean": parts.mean} if with_mean else paths)


def _least_squares(parts: Sequence[PathParts], *, with_mean: bool) -> tuple[Coefficients, float]:
    """Solve for the shares, each row weighted so that its direct path has length 1."""
    names = ("direct", "mean", "variance") if with_mean else ("direct", "variance")
    columns = [np.concatenate([_weighted(getattr(p, name), p) for p in parts]) for name in names]
    target = np.concatenate([_weighted(p.dx, p) for p in parts])
    matrix = np.stack(columns, axis=1)
    shares, _, rank, _ = np.linalg.lstsq(matrix, target, rcond=None)
    residual = _size([target - matrix @ shares]) / _size([columns[0]])
    if rank < len(names):
        return Coefficients(), residual
    return Coefficients(**dict(zip(names, map(float, shares), strict=True))), residual


_TINY: Final = float(np.finfo(np.float64).tiny)


def _residual(left: Sequence[Float64Array], parts: Sequence[PathParts]) -> float:
    """Size of what is left, relative to the direct path."""
    pairs = zip(left, parts, strict=True)
    return _size([_weighted(rows, p) for rows, p in pairs]) / _size(
        [_weighted(p.direct, p) for p in parts]
    )


def _weighted(rows: Float64Array, parts: PathParts) -> Float64Array:
    """Rows over the length of their direct path, and 0 where y does not depend on x at all."""
    length = np.linalg.norm(parts.direct, axis=1, keepdims=True)
    alive = length > DEAD * length.max()
    return np.ravel(np.divide(rows, length, out=np.zeros_like(rows), where=alive))


def _size(columns: Sequence[Float64Array]) -> float:
    return max(float(np.linalg.norm(np.concatenate(columns))), _TINY)


def _y_error(law: ForwardLaw, parts: PathParts, inputs: Inputs, run: Run) -> float:
    """Largest difference of y from the law, relative to the largest |y|."""
    inv_std, centre = parts.inv_std, parts.centre
    if law.variance_rule is not None:
        inv_std = law.variance_rule.inv_std(parts.batch_var, parts.x.shape[1])
        centre = parts.batch_mean
    y = inputs.geometry.rows(run.y)
    expected = law.form.output(parts.gamma * (parts.x - centre) * inv_std + law.form.beta(inputs))
    # Rows that an activation cuts off say nothing of the law.
    left = np.where(parts.inv_std != 0, y - expected, 0.0)
    return float(np.abs(left).max()) / max(float(np.abs(y).max()), _TINY)
