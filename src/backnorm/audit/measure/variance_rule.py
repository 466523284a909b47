"""The variance rule: how inv_std follows from the variance.

Which divisor the variance has, which eps is added, and whether inside or outside the root.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from backnorm.audit.thresholds import EPS_ALLOWANCE, PREFERENCE, VARIANCE_RULE_LIMIT

if TYPE_CHECKING:
    import numpy.typing as npt

    from backnorm._types import Float64Array

__all__ = ["Observed", "VarianceRule", "find_variance_rule"]

Estimator: TypeAlias = Literal["biased", "unbiased"]
Place: TypeAlias = Literal["inside", "outside"]

USUAL_FIRST: Final[tuple[tuple[Estimator, Place], ...]] = (
    ("biased", "inside"),
    ("biased", "outside"),
    ("unbiased", "inside"),
    ("unbiased", "outside"),
)
"""All rules that are tried. An earlier rule is taken unless a later rule fits much better."""


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Variances and the inv_std that went with them, one row for each set; shapes (R, 1).

    Attributes
    ----------
    var
        Biased variance of the input. [x]^2
    n
        How many values share the statistics.
    inv_std
        What the subject multiplied by. 1/[x]
    small
        Whether the row has the smallest scale that was tried.
    """

    var: Float64Array
    n: Float64Array
    inv_std: Float64Array
    small: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class VarianceRule:
    """inv_std = 1/sqrt(var + eps), or 1/(sqrt(var) + eps).

    Attributes
    ----------
    estimator
        Whether the variance is divided by n ("biased") or n - 1.
    place
        Where eps is added.
    eps
        What is added: [x]^2 inside the root, [x] outside. 0 where it cannot be told from 0.
    blur
        How far eps may be off, in its unit: rounding of the variances beside which it was seen.
    centred
        Whether a mean is subtracted first; a mean square otherwise.
    """

    estimator: Estimator
    place: Place
    eps: float
    blur: float = 0.0
    centred: bool = True

    def __str__(self) -> str:
        statistic = f"{self.estimator} variance" if self.centred else "mean square"
        if not self.eps:
            below = f" (below {self.blur:.0e})" if self.blur else ""
            return f"{statistic}, eps too small to be measured{below}"
        return f"{statistic}, eps {self.eps:.3g} {self.place} the root"

    def divisor(self, n: int) -> float:
        """Return what the sum of squares is divided by."""
        return n - 1.0 if self.estimator == "unbiased" else float(n)

    def inv_std(self, var: Float64Array, n: int) -> Float64Array:
        """Return the inv_std for a biased variance."""
        own = var * n / self.divisor(n)
        root = np.sqrt(own + self.eps) if self.place == "inside" else np.sqrt(own) + self.eps
        return np.asarray(1 / root)

    def blur_at(self, std: float) -> float:
        """Return how far inv_std may be off at a standard deviation of x, relative to itself."""
        if self.place == "inside":
            return self.blur / (2 * (std**2 + self.eps))
        return self.blur / (std + self.eps)

    def steepness(self, var: Float64Array, n: int) -> Float64Array:
        """Return d(inv_std)/d(var), relative to the same slope for eps inside the root."""
        if self.place == "inside":
            return np.ones_like(var)
        return 1.0 + self.eps / np.sqrt(var * n / self.divisor(n))


def find_variance_rule(observed: Observed, *, unbiased_too: bool) -> VarianceRule | None:
    """Find the rule that inv_std follows.

    Parameters
    ----------
    observed
        Variances and the inv_std that went with them.
    unbiased_too
        Whether a variance divided by n - 1 is possible: a mean square has no n - 1.

    Returns
    -------
    VarianceRule or None
        The most usual rule that fits; None if no rule fits.
    """
    # Each rule has one unknown, eps, which follows from the rows of the smallest variance; the
    # rows of larger variance then decide whether the rule holds. n - 1 and n differ most in small
    # batches, both places of eps where the variance is near eps.
    #
    # Why the order matters: with an eps far below the smallest variance probed (4e-6), both places
    # of eps fit down to rounding, and the better fit would be a matter of chance. So a less usual
    # rule must halve the error of the rule found before it (PREFERENCE), and the usual rule wins a
    # tie. A rule that is wrong by its divisor misses by 1/(2n), 1e-2 at the largest n probed, ten
    # times the limit.
    best, best_error = None, float(VARIANCE_RULE_LIMIT)
    for estimator, place in USUAL_FIRST:
        if estimator == "unbiased" and not unbiased_too:
            continue
        rule, error = _fit(observed, estimator, place)
        if error < best_error:
            # A mean square has no n - 1, and only that.
            best, best_error = replace(rule, centred=unbiased_too), error * PREFERENCE
    return best


def _fit(observed: Observed, estimator: Estimator, place: Place) -> tuple[VarianceRule, float]:
    """Return a rule whose eps is that of the rows where it weighs most, and its largest error."""
    n = observed.n
    own = observed.var * (n / (n - 1) if estimator == "unbiased" else 1.0)
    std, inside = 1 / observed.inv_std, place == "inside"
    added = (std**2 - own if inside else std - np.sqrt(own))[observed.small]
    eps = float(np.median(added))
    # In each row rounding adds something else: eps is seen where it is larger than that.
    blur = EPS_ALLOWANCE * float(np.abs(added - eps).max())
    if eps <= blur:
        eps, blur = 0.0, max(eps, 0.0) + blur
    root = np.sqrt(own + eps) if inside else np.sqrt(own) + eps
    return VarianceRule(estimator, place, eps, blur), float(
        np.abs(observed.inv_std * root - 1).max()
    )
