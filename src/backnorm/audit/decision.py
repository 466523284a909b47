"""The rule of the verdict: what a measurement must show for a yes, for a NO, and for neither.

What each verdict requires, and nothing less gives it:

- **NO**: in some dtype dx, dgamma, dbeta or the gradient by another parameter differs from the
  numerical derivative of the subject's own forward pass, at elements where this derivative was
  measured, by more than it differs from call to call; and y repeats and is not rounded to steps
  there.
- **yes**: in every dtype of the subject y is the same in two calls; y is not rounded to steps; the
  derivative was measured at more than a tenth of the elements of x, and it is not 0 at more than a
  tenth; and dx, dgamma, dbeta and the gradients by all other parameters that train agree with it
  wherever it was measured. If the user gave the kind or the axes, y must also be a line in x in
  each row of that kind: a yes would otherwise be read as `a right layer of this kind`. Random
  numbers must be held fixed by the runner: each call then draws the same numbers, and the gradient
  is that of the draw. The memory orders are then compared with the derivative too (P40).
- **not judged**: everything else, with the reason.

The paths (`through`) are not needed for a yes: the derivative assumes no law. They say what a wrong
gradient lacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.measure.wavering import largest_wavering
from backnorm.audit.thresholds import (
    COEFFICIENT_LIMIT,
    GRADIENT_LIMIT,
    REPEAT_LIMIT,
    RESIDUAL_LIMIT,
    ROUGH_LIMIT,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backnorm.audit.measure.gradient import Measurement
    from backnorm.audit.record import Path

__all__ = [
    "FOR_TRAINING",
    "exceeds",
    "known_fault",
    "near",
    "path_of",
    "vague",
    "verdict_of",
    "wavers",
    "why_not_judged",
]

DEAD: Final = "y hardly depends on x: a right dx is 0 nearly everywhere, and so is a missing one"
"""Why a gradient that agrees with a derivative of 0 is not called right."""

FOR_TRAINING: Final = ("batch_gradient", "own_gradient", "renorm_gradient")
"""Known faults that make training's gradient: faults only where the forward pass does not train."""


def verdict_of(m: Measurement) -> bool | None:
    """Tell whether the gradient is right; None where y has no derivative to compare it with."""
    if vague(m):
        return None
    if _is_wrong(m):
        return False
    return True if m.comparison.responds else None


def _is_wrong(m: Measurement) -> bool:
    errors = m.comparison.certain
    return any(exceeds(m, e) for e in (errors.dx, errors.dgamma, errors.dbeta, *m.others.values()))


def vague(m: Measurement) -> str:
    """Return the code of what makes a derivative meaningless, or an empty string."""
    if m.comparison.unrepeated > REPEAT_LIMIT:
        return "G16"
    if wavers(m):
        return "G16"
    rough = m.comparison.skipped > ROUGH_LIMIT or m.comparison.staircase.found
    return "G15" if rough else ""


def wavers(m: Measurement) -> bool:
    """Whether a gradient differs from call to call, so that it may be right in one and not in all.

    A gradient that is wrong by more than that is wrong in all.
    """
    return exceeds(m, largest_wavering(m.comparison.wavering)[1]) and not _is_wrong(m)


def why_not_judged(m: Measurement) -> str:
    """Say why a gradient was not judged."""
    if vague(m) == "G16" and wavers(m):
        name, _ = largest_wavering(m.comparison.wavering)
        return f"{name} differs from call to call on the same input"
    if vague(m) == "G16" and m.comparison.by_pass:
        return "y of a call with a gradient is not y of the same call without"
    if vague(m) == "G16":
        return "y differs from call to call, so that the derivative cannot be measured"
    if m.comparison.staircase.found:
        return (
            f"y is rounded to {m.comparison.staircase}: its derivative is 0 almost everywhere, and "
            "a straight-through gradient is a choice"
        )
    if not vague(m):
        return DEAD
    return "y has kinks or coarse rounding, so that the derivative cannot be measured"


def exceeds(m: Measurement, error: float | None) -> bool:
    """Whether the error of a gradient is beyond what rounding makes."""
    return error is not None and error > GRADIENT_LIMIT[m.comparison.resolution]


def path_of(m: Measurement) -> Path:
    """Name the statistics that the gradient goes through; a poor fit gets no name."""
    shares = m.path_fit.coefficients
    poor = not m.forward_law.straight or m.path_fit.residual > RESIDUAL_LIMIT
    if poor or not near(shares.direct, 1.0) or shares.variance is None:
        return "unexplained"
    takes_part = [s for s in (shares.mean, shares.variance) if s is not None and not near(s, 0.0)]
    # Only a blend of statistics may let a part of a path through.
    if m.forward_law.mode != "other" and not all(near(s, 1.0) for s in takes_part):
        return "unexplained"
    through_variance = not near(shares.variance, 0.0)
    if shares.mean is None:
        return "both" if through_variance else "none"
    names: dict[tuple[bool, bool], Path] = {
        (True, True): "both",
        (True, False): "mean",
        (False, True): "variance",
        (False, False): "none",
    }
    return names[not near(shares.mean, 0.0), through_variance]


def near(share: float | None, value: float, limit: float = COEFFICIENT_LIMIT) -> bool:
    """Whether a share is known, and has this value."""
    return share is not None and abs(share - value) < limit


def known_fault(m: Measurement, names: Iterable[str]) -> str:
    """Return the name of the known fault that explains dx, or an empty string."""
    fitting = [name for name in names if m.path_fit.known_faults[name] < RESIDUAL_LIMIT]
    return min(fitting, key=lambda name: m.path_fit.known_faults[name], default="")
