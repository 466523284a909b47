"""Forms that a layer may have, found by looking at its y."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.kinds import has_mean
from backnorm.audit.measure.form import LayerConstants, LayerForm, fit_form
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.measure.lines import find_lines
from backnorm.audit.measure.row_fit import GAMMA_LAWS
from backnorm.audit.thresholds import ROW_FIT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.measure.inputs import Inputs
    from backnorm.audit.subject import Subject

__all__ = ["forms_of"]

WIDE: Final = 2.0**10
"""Standard deviation of x beside which no eps shows."""

BATCHES: Final = (16, 5)
"""Two batch sizes, since the factor must not depend on how many samples there are."""


def forms_of(
    subject: Subject, drawn: Sequence[Inputs], outputs: Sequence[AnyArray], groups: int
) -> Iterator[LayerForm]:
    """Yield the forms that y may have, the usual ones first.

    Parameters
    ----------
    subject
        The black box.
    drawn, outputs
        What it received and returned; the last is the largest and widest x.
    groups
        Number of groups of channels.

    Yields
    ------
    LayerForm
        The forms.
    """
    plain = [LayerForm(law) for law in GAMMA_LAWS]
    yield from plain
    fits = [[fit_form(one, y, form) for form in plain] for one, y in _pairs(drawn, outputs)]
    left = np.array([[fit.residual for fit in several] for several in fits])
    # Each row may be cut off altogether, or not at all: then y does not bend.
    cut_off = any((several[0].slope == 0).any() for several in fits)
    if cut_off or left.max(axis=0).min() > ROW_FIT_LIMIT:
        # The last has the most elements; in another an activation may bend y more.
        for k in (len(drawn) - 1, int(np.argmax(left.min(axis=1)))):
            for lines in find_lines(drawn[k], outputs[k].astype(np.float64)):
                if lines.activation is not None:
                    yield LayerForm(lines.law, lines.activation)
    constants = _constants_of(subject, groups)
    if constants is not None:
        yield LayerForm(constants=constants)


def _pairs(
    drawn: Sequence[Inputs], outputs: Sequence[AnyArray]
) -> Iterator[tuple[Inputs, AnyArray]]:
    return zip(drawn, outputs, strict=True)


def _constants_of(subject: Subject, groups: int) -> LayerConstants | None:
    """Find a constant factor and addend; None where y is not such a multiple of x_hat."""
    rng, dtype = np.random.default_rng(0), subject.dtypes[-1]
    drawn = [draw_inputs(subject, rng, dtype, batch=b, scale=WIDE, groups=groups) for b in BATCHES]
    found = [_multiple(subject, inputs) for inputs in drawn]
    factor = found[0][0]
    if not _alike(factor, found[1][0]) or not factor.all():
        return None
    for whole in (True, False):
        betas = [0.0 if d.beta is None else d.beta * (factor if whole else 1.0) for d in drawn]
        first, other = (moved - beta for (_, moved), beta in zip(found, betas, strict=True))
        if np.abs(first - other).max() <= ROW_FIT_LIMIT * np.abs(factor).max():
            return LayerConstants(factor, np.asarray(first), whole)
    return None


def _multiple(subject: Subject, inputs: Inputs) -> tuple[Float64Array, Float64Array]:
    """Fit y = gamma*factor*x_hat + moved for each parameter; NaN where this misses y."""
    where, shape = inputs.geometry, subject.parameter_shape
    rows = where.rows(inputs.x)
    centred = rows - rows.mean(axis=1, keepdims=True) * has_mean(subject.kind)
    spread = np.sqrt(np.mean(centred**2, axis=1, keepdims=True))
    x_hat = where.spread(inputs.gamma, 1.0) * centred / np.maximum(spread, np.finfo(float).tiny)
    y = where.rows(inputs.forward(subject))
    index = where.spread(np.arange(np.prod(shape, dtype=int)).reshape(shape), 0.0).astype(int)
    factor, moved = np.full(shape, np.nan), np.full(shape, np.nan)
    for k in range(factor.size):
        a, b = x_hat[index == k], y[index == k]
        off = a - a.mean()
        slope = float(np.sum(off * b) / max(float(np.sum(off**2)), np.finfo(float).tiny))
        left = b - b.mean() - slope * off
        if np.abs(left).max() <= ROW_FIT_LIMIT * max(float(np.abs(b - b.mean()).max()), 0.0):
            factor.flat[k], moved.flat[k] = slope, b.mean() - slope * a.mean()
    return factor, moved


def _alike(a: Float64Array, b: Float64Array) -> bool:
    return bool(np.abs(a - b).max() <= ROW_FIT_LIMIT * np.abs(a).max())
