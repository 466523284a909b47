"""The exact result of a subject's own law, to tell its rounding errors by.

Everything here is computed in the widest format that there is, from the same rounded input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from backnorm.audit.kinds import has_mean
from backnorm.audit.measure.forward_law import SCALES, scatter
from backnorm.audit.measure.inputs import draw
from backnorm.audit.measure.row_fit import GAMMA_LAWS, fit_line
from backnorm.audit.thresholds import LAW_LIMIT
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.measure.forward_law import Law
    from backnorm.audit.measure.inputs import Draw
    from backnorm.audit.measure.variance_rule import Root
    from backnorm.audit.subject import Subject

__all__ = ["Exact", "ExactLaw", "exact_law"]

Rows: TypeAlias = "np.ndarray[Any, np.dtype[np.longdouble]]"

TINY_SCALE: Final = 2.0**-33
"""Standard deviation at which eps can be seen alone, however small it is."""

EPS_KNOWN: Final = 1e-6
"""How well `find_root` knows eps, relative to the smallest variance or deviation it has seen."""

EPS_SEEN: Final = 1e-5
"""An eps below this part of the variance it stands beside is rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Exact:
    """The exact results for one input; shapes (R, n).

    Attributes
    ----------
    y, dx
        Output and gradient.
    direct
        The direct path of dx, the size that errors of dx are relative to: dx itself may vanish.
    """

    y: Rows
    dx: Rows
    direct: Rows


@dataclass(frozen=True, slots=True, eq=False)
class Constants:
    """What constant statistics make of x: slope*x + intercept; shapes (R, 1)."""

    slope: Float64Array
    intercept: Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class ExactLaw:
    """The law that a subject follows, as exactly as it can be known.

    Attributes
    ----------
    gamma_law
        What x_hat is multiplied by.
    groups
        Number of groups of channels.
    centred
        Whether a mean is subtracted.
    statistics
        How inv_std follows from the batch's variance, or constants.
    """

    gamma_law: str
    groups: int
    centred: bool
    statistics: Root | Constants

    def results(self, one: Draw) -> Exact:
        """Compute y and dx of one draw."""
        x, dy = _wide(one.geometry.rows(one.x)), _wide(one.geometry.rows(one.dy))
        gamma = _wide(GAMMA_LAWS[self.gamma_law](one.geometry.spread(one.gamma, 1.0)))
        beta = _wide(one.geometry.spread(one.beta, 0.0))
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
    subject: Subject, law: Law, rng: np.random.Generator, *, batch: int
) -> ExactLaw | None:
    """Make a law exact.

    Parameters
    ----------
    subject
        The black box; its forward pass is used to find constants.
    law
        The law of its first format.
    rng
        Where draws come from.
    batch
        Number of samples of the draws that the law is to be used for.

    Returns
    -------
    ExactLaw or None
        None where the statistics are neither the batch's nor constants.
    """
    centred = has_mean(subject.kind)
    if law.mode == "frozen":
        one = draw(subject, rng, subject.dtypes[-1], batch=batch, groups=law.groups)
        slope = fit_line(one, one.forward(subject), law.gamma_law).slope
        at_zero = replace(one, x=np.zeros_like(one.x))
        gamma = GAMMA_LAWS[law.gamma_law](one.geometry.spread(one.gamma, 1.0))
        shift = one.geometry.rows(at_zero.forward(subject)) - one.geometry.spread(one.beta, 0.0)
        constants = Constants(slope, (shift / gamma).mean(axis=1, keepdims=True))
        return ExactLaw(law.gamma_law, law.groups, centred, constants)
    if law.root is None:
        return None
    root = _sharpened(subject, law, law.root, rng)
    return ExactLaw(law.gamma_law, law.groups, centred, root)


def _wide(rows: AnyArray) -> Rows:
    return np.asarray(rows, np.longdouble)


def _normalized(root: Root, x: Rows, *, centred: bool) -> tuple[Rows, Rows, Rows]:
    """Return x_hat, inv_std and the steepness of inv_std."""
    # A second mean takes up what the first one lost to rounding.
    for _ in range(2 if centred else 0):
        x = x - x.mean(axis=1, keepdims=True)
    var, n = np.mean(x**2, axis=1, keepdims=True), x.shape[1]
    inv_std = _wide(root.inv_std(var, n))
    return x * inv_std, inv_std, _wide(root.steepness(var, n))


def _sharpened(subject: Subject, law: Law, root: Root, rng: np.random.Generator) -> Root:
    """Find eps again where it stands alone, since variances hid its digits where it was found."""
    one = draw(subject, rng, subject.dtypes[0], batch=16, scale=TINY_SCALE, groups=law.groups)
    # Without beta, beside which such a small y would have no digits.
    one = replace(one, beta=None if one.beta is None else np.zeros_like(one.beta))
    try:
        line = fit_line(one, one.forward(subject), law.gamma_law)
    except SubjectError:
        return root
    if (line.slope <= 0).any():
        return root
    rows, inside = one.geometry.rows(one.x), root.place == "inside"
    own = scatter(subject.kind, rows).var * rows.shape[1] / root.divisor(rows.shape[1])
    whole, beside = (line.slope**-2, own) if inside else (1 / line.slope, np.sqrt(own))
    eps = float(np.median(whole - beside))
    eps = eps if eps > EPS_SEEN * float(beside.max()) else 0.0
    hidden = EPS_KNOWN * min(SCALES) ** (2 if inside else 1)
    return replace(root, eps=eps) if abs(eps - root.eps) < hidden + LAW_LIMIT * root.eps else root
