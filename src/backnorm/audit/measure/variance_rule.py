"""How inv_std follows from the variance: which divisor, which eps, inside or outside the root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from backnorm.audit.thresholds import LAW_LIMIT, PREFERENCE

if TYPE_CHECKING:
    import numpy.typing as npt

    from backnorm._types import Float64Array

__all__ = ["Observed", "Root", "find_root"]

Estimator: TypeAlias = Literal["biased", "unbiased"]
Place: TypeAlias = Literal["inside", "outside"]

USUAL_FIRST: Final[tuple[tuple[Estimator, Place], ...]] = (
    ("biased", "inside"),
    ("biased", "outside"),
    ("unbiased", "inside"),
    ("unbiased", "outside"),
)
"""All laws that are tried; an earlier one is taken unless a later one fits much better."""


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """What was seen of a subject, a row for each set of statistics; shapes (R, 1).

    Attributes
    ----------
    var
        Biased variance of the input. [x]^2
    n
        How many values share the statistics.
    inv_std
        What the subject multiplied by. 1/[x]
    small
        Whether the row is one of the smallest variance that was probed.
    """

    var: Float64Array
    n: Float64Array
    inv_std: Float64Array
    small: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Root:
    """inv_std = 1/sqrt(var + eps), or 1/(sqrt(var) + eps).

    Attributes
    ----------
    estimator
        Whether the variance is divided by n ("biased") or n - 1.
    place
        Where eps is added.
    eps
        What is added: [x]^2 inside the root, [x] outside.
    """

    estimator: Estimator
    place: Place
    eps: float

    def __str__(self) -> str:
        return f"{self.estimator} variance, eps {self.eps:.3g} {self.place} the root"

    def divisor(self, n: int) -> float:
        """What the sum of squares is divided by."""
        return n - 1.0 if self.estimator == "unbiased" else float(n)

    def inv_std(self, var: Float64Array, n: int) -> Float64Array:
        """Return the inv_std for a biased variance."""
        own = var * n / self.divisor(n)
        root = np.sqrt(own + self.eps) if self.place == "inside" else np.sqrt(own) + self.eps
        return np.asarray(1 / root)

    def steepness(self, var: Float64Array, n: int) -> Float64Array:
        """How fast inv_std falls with the variance, relative to that of eps inside the root."""
        if self.place == "inside":
            return np.ones_like(var)
        return 1.0 + self.eps / np.sqrt(var * n / self.divisor(n))


def find_root(observed: Observed, *, unbiased_too: bool) -> Root | None:
    """Find the law that inv_std follows.

    Parameters
    ----------
    observed
        Variances and the inv_std that went with them.
    unbiased_too
        Whether a variance divided by n - 1 makes sense: not for mean squares.

    Returns
    -------
    Root or None
        The most usual of the laws that fit; None if none does.
    """
    best, best_error = None, LAW_LIMIT
    for estimator, place in USUAL_FIRST:
        if estimator == "unbiased" and not unbiased_too:
            continue
        eps, error = _fit(observed, estimator, place)
        if error < best_error:
            best, best_error = Root(estimator, place, eps), error * PREFERENCE
    return best


def _fit(observed: Observed, estimator: Estimator, place: Place) -> tuple[float, float]:
    """Return the eps of a law, from the rows where it weighs most, and its largest error."""
    n = observed.n
    own = observed.var * (n / (n - 1) if estimator == "unbiased" else 1.0)
    std, inside = 1 / observed.inv_std, place == "inside"
    added = std**2 - own if inside else std - np.sqrt(own)
    eps = max(float(np.median(added[observed.small])), 0.0)
    root = np.sqrt(own + eps) if inside else np.sqrt(own) + eps
    return eps, float(np.abs(observed.inv_std * root - 1).max())
