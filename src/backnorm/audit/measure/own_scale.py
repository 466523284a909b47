"""Whether a subject divides x by a scale of x before it normalizes, so that eps grows with x.

Such a y does not change with the scale of x at all, although an eps takes part. Layers do so to
keep half precision from overflowing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.measure.form import fit_form
from backnorm.audit.measure.forward_law import scatter
from backnorm.audit.measure.inputs import draw_inputs

if TYPE_CHECKING:
    import numpy.typing as npt

    from backnorm.audit.measure.forward_law import ForwardLaw
    from backnorm.audit.subject import Subject

__all__ = ["OwnScale", "measure_own_scale"]

FACTOR: Final = 2.0**-6
"""What x is multiplied by: a power of two, so that nothing is rounded."""

BATCH: Final = 5


@dataclass(frozen=True, slots=True)
class OwnScale:
    """What the scale of x changes.

    Attributes
    ----------
    change
        The largest change of y where x is multiplied by 2^-6, relative to y.
    added
        The largest part that eps, or anything else, adds to the variance.
    """

    change: float
    added: float


def measure_own_scale(
    subject: Subject, law: ForwardLaw, rng: np.random.Generator, dtype: str
) -> OwnScale:
    """Run a subject on the same x at two scales.

    Parameters
    ----------
    subject
        The black box; only its forward pass is used.
    law
        Its forward law.
    rng
        Source of the random inputs.
    dtype
        Dtype of the inputs.

    Returns
    -------
    OwnScale
        What changes.
    """
    inputs = draw_inputs(subject, rng, dtype, batch=BATCH, groups=law.groups)
    # Beside a large beta, a change of the rest of y would not show.
    inputs = replace(inputs, beta=None if inputs.beta is None else np.zeros_like(inputs.beta))
    y = inputs.forward(subject)
    smaller = replace(inputs, x=(inputs.x * FACTOR).astype(inputs.x.dtype)).forward(subject)
    fit = fit_form(inputs, y, law.form)
    rows, rule = inputs.geometry.rows(inputs.x), law.variance_rule
    n = rows.shape[1]
    # n/(n - 1) of an unbiased variance is nothing that eps adds.
    unbiased = 1.0 if rule is None else n / rule.divisor(n)
    var = unbiased * scatter(subject.kind, rows).var[fit.known]
    return OwnScale(
        _largest(smaller.astype(np.float64) - y) / max(_largest(y), _TINY),
        _largest(1 / np.maximum(fit.slope[fit.known] ** 2 * var, _TINY) - 1),
    )


_TINY: Final = float(np.finfo(np.float64).tiny)


def _largest(values: npt.ArrayLike) -> float:
    return float(np.abs(np.asarray(values)).max(initial=0.0))
