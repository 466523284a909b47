"""The exact result of a subject's own law: what its rounding errors are measured against.

Everything here is computed in the widest dtype there is, from the same rounded input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from backnorm.audit.kinds import has_mean
from backnorm.audit.measure.form import LayerForm, fit_form
from backnorm.audit.measure.forward_law import SCALES, scatter
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.thresholds import LARGEST_BLUR, VARIANCE_RULE_LIMIT
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.measure.forward_law import ForwardLaw
    from backnorm.audit.measure.inputs import Inputs
    from backnorm.audit.measure.variance_rule import VarianceRule
    from backnorm.audit.subject import Subject

__all__ = ["Exact", "ExactLaw", "WideRows", "exact_law"]

WideRows: TypeAlias = "np.ndarray[Any, np.dtype[np.longdouble]]"

TINY_SCALE: Final = 2.0**-33
"""Standard deviation beside which any eps can be measured, however small."""

EPS_KNOWN: Final = 1e-6
"""Error of the eps of `find_variance_rule`, relative to the smallest variance or deviation used."""

EPS_SEEN: Final = 1e-5
"""An eps below this part of the variance beside it is rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Exact:
    """The exact results of one call; shapes (R, n).

    Attributes
    ----------
    y, dx
        Output and gradient.
    direct
        The direct path of dx. Errors of dx are relative to it, since dx itself may vanish.
    """

    y: WideRows
    dx: WideRows
    direct: WideRows


@dataclass(frozen=True, slots=True, eq=False)
class Constants:
    """What constant statistics make of x: slope*x + intercept; shapes (R, 1)."""

    slope: Float64Array
    intercept: Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class ExactLaw:
    """The forward law of a subject, with constants and eps as exact as they can be measured.

    Attributes
    ----------
    form
        How y follows from x_hat.
    groups
        Number of groups of channels.
    centred
        Whether a mean is subtracted.
    statistics
        How inv_std follows from the batch's variance, or constants.
    """

    form: LayerForm
    groups: int
    centred: bool
    statistics: VarianceRule | Constants

    def is_known_at(self, std: float) -> bool:
        """Whether eps is known well enough for a standard deviation of x."""
        if isinstance(self.statistics, Constants):
            return True
        return self.statistics.blur_at(std) < LARGEST_BLUR

    def results(self, inputs: Inputs) -> Exact:
        """Compute the exact y and dx of one call."""
        x, dy = _wide(inputs.geometry.rows(inputs.x)), _wide(inputs.geometry.rows(inputs.dy))
        gamma = _wide(self.form.gamma(inputs))
        beta = _wide(inputs.geometry.spread(inputs.beta, 0.0))
        if isinstance(self.statistics, Constants):
            slope, intercept = _wide(self.statistics.slope), _wide(self.statistics.intercept)
            direct, x_hat = gamma * slope * dy, slope * x + intercept
            return Exact(gamma * x_hat + beta, direct, direct)
        x_hat, inv_std, steepness = _normalized(self.statistics, x, centred=self.centred)
        direct = gamma * inv_std * dy
        along = np.sum(direct * x_hat, axis=1, keepdims=True) / self.statistics.divisor(x.shape[1])
        dx = direct - x_hat * along * steepness
        if self.centred:
            dx = dx - direct.mean(axis=1, keepdims=True)
        return Exact(gamma * x_hat + beta, dx, direct)


def exact_law(
    subject: Subject, law: ForwardLaw, rng: np.random.Generator, *, batch: int
) -> ExactLaw | None:
    """Make a forward law exact.

    Parameters
    ----------
    subject
        The black box; its forward pass is used to find constants.
    law
        The law in its first dtype.
    rng
        Source of the random inputs.
    batch
        Number of samples in the calls that the law will be used for.

    Returns
    -------
    ExactLaw or None
        None where the statistics are neither the batch's nor constants, and where an activation,
        or constants beside gamma, hide digits.
    """
    if law.form.activation is not None or law.form.constants is not None:
        return None
    centred = has_mean(subject.kind)
    if law.mode == "frozen":
        inputs = draw_inputs(subject, rng, subject.dtypes[-1], batch=batch, groups=law.groups)
        slope = fit_form(inputs, inputs.forward(subject), law.form).slope
        at_zero = replace(inputs, x=np.zeros_like(inputs.x))
        gamma = law.form.gamma(inputs)
        beta = inputs.geometry.spread(inputs.beta, 0.0)
        shift = inputs.geometry.rows(at_zero.forward(subject)) - beta
        constants = Constants(slope, (shift / gamma).mean(axis=1, keepdims=True))
        return ExactLaw(law.form, law.groups, centred, constants)
    if law.variance_rule is None:
        return None
    rule = _sharpened(subject, law, law.variance_rule, rng)
    return ExactLaw(law.form, law.groups, centred, rule)


def _wide(rows: AnyArray) -> WideRows:
    return np.asarray(rows, np.longdouble)


def _normalized(
    rule: VarianceRule, x: WideRows, *, centred: bool
) -> tuple[WideRows, WideRows, WideRows]:
    """Return x_hat, inv_std and the steepness of inv_std."""
    # The second mean is what rounding left of the first.
    for _ in range(2 if centred else 0):
        x = x - x.mean(axis=1, keepdims=True)
    var, n = np.mean(x**2, axis=1, keepdims=True), x.shape[1]
    inv_std = _wide(rule.inv_std(var, n))
    return x * inv_std, inv_std, _wide(rule.steepness(var, n))


def _sharpened(
    subject: Subject, law: ForwardLaw, rule: VarianceRule, rng: np.random.Generator
) -> VarianceRule:
    """Measure eps again beside a tiny variance: where it was found, the variance hid its digits."""
    seen = _seen(subject, law, rule, rng, TINY_SCALE)
    if seen is None:
        return rule
    std, beside = seen
    inside = rule.place == "inside"
    eps = float(np.median(std**2 - beside**2 if inside else std - beside))
    least = EPS_SEEN * float(beside.max()) ** (2 if inside else 1)
    sharp = replace(rule, eps=eps if eps > least else 0.0, blur=least)
    known = max(EPS_KNOWN * min(SCALES) ** (2 if inside else 1), rule.blur)
    agrees = abs(sharp.eps - rule.eps) < known + VARIANCE_RULE_LIMIT * rule.eps
    return sharp if agrees and _holds(subject, law, sharp, rng) else rule


def _holds(subject: Subject, law: ForwardLaw, rule: VarianceRule, rng: np.random.Generator) -> bool:
    """Whether a rule holds where its eps is as large as the variance: a clamp is not an eps."""
    if not rule.eps:
        return True
    usual = np.log2(rule.eps) / (2 if rule.place == "inside" else 1)
    seen = _seen(subject, law, rule, rng, 2.0 ** round(float(usual)))
    if seen is None:
        return False
    std, beside = seen
    own = np.sqrt(beside**2 + rule.eps) if rule.place == "inside" else beside + rule.eps
    return bool(np.abs(std / own - 1).max() < VARIANCE_RULE_LIMIT)


def _seen(
    subject: Subject, law: ForwardLaw, rule: VarianceRule, rng: np.random.Generator, scale: float
) -> tuple[Float64Array, Float64Array] | None:
    """Return 1/inv_std, and the deviation without eps, at a scale of x; None without a line."""
    dtype, groups = subject.dtypes[0], law.groups
    inputs = draw_inputs(subject, rng, dtype, batch=16, scale=scale, groups=groups)
    # Without beta, beside which such a small y would have no digits.
    inputs = replace(inputs, beta=None if inputs.beta is None else np.zeros_like(inputs.beta))
    try:
        fit = fit_form(inputs, inputs.forward(subject), law.form)
    except SubjectError:
        return None
    if (fit.slope <= 0).any():
        return None
    rows = inputs.geometry.rows(inputs.x)
    own = scatter(subject.kind, rows).var * rows.shape[1] / rule.divisor(rows.shape[1])
    return 1 / fit.slope, np.sqrt(own)
