"""The three paths of one dx, built with the statistics that the subject itself used.

D, M and V are equations 10 to 12 of docs/mathematics.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backnorm.audit.kinds import has_mean
from backnorm.audit.measure.form import fit_form
from backnorm.audit.measure.forward_law import scatter

if TYPE_CHECKING:
    from backnorm._types import Float64Array
    from backnorm.audit.measure.forward_law import ForwardLaw
    from backnorm.audit.measure.inputs import Inputs
    from backnorm.audit.measure.row_fit import RowFit
    from backnorm.audit.subject import Subject
    from backnorm.audit.subjects.runner import Run

__all__ = ["PathParts", "path_parts"]


@dataclass(frozen=True, slots=True, eq=False)
class PathParts:
    """The paths of dx for one call, and what they are built from; shapes (R, n).

    Attributes
    ----------
    direct, mean, variance
        D, M and V; M is 0 for kinds without a mean.
    x_hat
        The subject's own normalized input.
    x, dy
        What the subject received; dy as it arrives before the activation, if there is one.
    gamma
        What x_hat is multiplied by.
    inv_std, centre
        What the subject used; shapes (R, 1).
    batch_mean, batch_var
        Statistics of the batch; shapes (R, 1).
    samples
        Number of samples in the batch.
    divisor
        n or n - 1: what the subject divides its variance by.
    steepness
        d(inv_std)/d(var), relative to the same slope for eps inside the root; shape (R, 1).
    dx
        What the subject returned.
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
    samples: int
    divisor: float
    steepness: Float64Array
    dx: Float64Array


def path_parts(
    subject: Subject, law: ForwardLaw, inputs: Inputs, run: Run, fit: RowFit | None = None
) -> PathParts:
    """Build D, M and V for one call.

    Parameters
    ----------
    subject
        The black box.
    law
        Its forward law.
    inputs, run
        What it received and what it returned.
    fit
        Its lines there; None to find them from y.

    Returns
    -------
    PathParts
        The paths, row by row.
    """
    fit = fit or fit_form(inputs, run.y, law.form)
    x = inputs.geometry.rows(inputs.x)
    dy = inputs.geometry.rows(inputs.dy) * law.form.slope(fit.u)
    batch, n, rule = scatter(subject.kind, x), inputs.geometry.n, law.variance_rule
    divisor = float(n) if rule is None else rule.divisor(n)
    x_hat = (x - fit.centre) * fit.slope
    direct = fit.gamma * fit.slope * dy
    steepness = np.ones_like(batch.var) if rule is None else rule.steepness(batch.var, n)
    # Where y blends constants with the batch's statistics, x moves only the batch's share.
    moved = x_hat if law.mode == "frozen" else (x - batch.mean) * fit.slope
    along = np.sum(direct * x_hat, axis=1, keepdims=True) / divisor
    return PathParts(
        direct=direct,
        mean=np.broadcast_to(-direct.mean(axis=1, keepdims=True), x.shape) * has_mean(subject.kind),
        variance=-moved * along * steepness,
        x_hat=x_hat,
        x=x,
        dy=dy,
        gamma=fit.gamma,
        inv_std=fit.slope,
        centre=fit.centre,
        batch_mean=batch.mean,
        batch_var=batch.var,
        samples=len(inputs.x),
        divisor=divisor,
        steepness=steepness,
        dx=inputs.geometry.rows(run.dx),
    )
