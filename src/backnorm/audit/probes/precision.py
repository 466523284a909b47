"""The precision where the mean of x is large, and at small and large scales of x."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from backnorm.audit.findings import finding
from backnorm.audit.measure.dtypes import format_of
from backnorm.audit.measure.exact import exact_law
from backnorm.audit.measure.sweeps import series, worse
from backnorm.audit.probes.case import failed, passed, skipped
from backnorm.audit.thresholds import LOST_DIGITS, MEAN_ALLOWANCE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backnorm.audit.measure.sweeps import Series
    from backnorm.audit.probes.case import Case, Outcome
    from backnorm.audit.record import PrecisionPoint, Sweep
    from backnorm.audit.subject import Subject

__all__ = [
    "NO_LAW",
    "limit_at",
    "lost_at",
    "measured_points",
    "over_means",
    "over_scales",
    "said_of",
    "series_of",
]

BATCH: Final = 64
"""Samples: enough for a sum to be one, few enough that sums in the format of x keep digits."""

OFFSETS: Final = (0.0, 1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
SCALES: Final = tuple(float(f"1e{power}") for power in range(-20, 21, 4))

NO_LAW: Final = "it normalizes with other statistics than the batch's or constants: no exact result"

WITH_SPACE: Final = 4
"""Axes of x from which on channels may come last in memory."""


def over_means(case: Case) -> Outcome:
    """Compare y and dx with the exact result of the same law, for means of 0 to 1e6 deviations."""
    made = series_of(case, case.subject, case.subject.dtypes[0])
    if made is None:
        return skipped(NO_LAW)
    points = measured_points(made, "offset", OFFSETS)
    floor = made.format.eps**LOST_DIGITS
    lost = [
        p for p in points if lost_at(p) > max(floor, MEAN_ALLOWANCE * made.format.eps * p.value)
    ]
    if lost:
        outcome = failed(said_of(lost[0]), finding("N01", said_of(lost[0])))
    else:
        outcome = passed(_kept(points, lambda point: lost_at(point) <= floor))
    return replace(outcome, precision=points)


def over_scales(case: Case) -> Outcome:
    """Compare y and dx with the exact result of the same law, for scales of 1e-20 to 1e20."""
    made = series_of(case, case.subject, case.subject.dtypes[0])
    if made is None:
        return skipped(NO_LAW)
    points = measured_points(made, "scale", SCALES)
    floor = made.format.eps**LOST_DIGITS
    infinite = [p for p in points if lost_at(p) == float("inf")]
    off = [
        p for p in points if limit_at(p) < lost_at(p) < float("inf") and _squares_fit(made, p.value)
    ]
    found = [finding("N02", said_of(p)) for p in off[:1]]
    found += [finding("N03", said_of(p)) for p in infinite[:1]]
    if found:
        outcome = failed("; ".join(one.got for one in found), *found)
    else:
        outcome = passed(_kept(points, lambda point: lost_at(point) <= floor))
    return replace(outcome, precision=points)


def series_of(case: Case, subject: Subject, dtype: str) -> Series | None:
    """Draw what the inputs of a sweep have in common; None where no law is known."""
    law = exact_law(case.subject, case.measurements[0].law, case.rng("exact law"), batch=BATCH)
    if law is None:
        return None
    rng = case.rng("precision")
    return series(subject, law, rng, dtype, batch=BATCH, judged=case.record.sound)


def measured_points(
    made: Series, sweep: Sweep, values: Sequence[float]
) -> tuple[PrecisionPoint, ...]:
    """Measure points, each in the order in memory that is worse for it."""
    points = [made.point(sweep, value) for value in values]
    if len(made.geometry.shape) >= WITH_SPACE:
        others = [made.point(sweep, value, channels_last=True) for value in values]
        points = [worse(a, b) for a, b in zip(points, others, strict=True)]
    return tuple(points)


def lost_at(point: PrecisionPoint) -> float:
    """Largest error of y and dx; infinite where one is not finite that should be."""
    pairs = ((point.y, point.exact_y), (point.dx, point.exact_dx))
    return max(
        (float("inf") if e is None else e for e, exact in pairs if exact is not None), default=0.0
    )


def limit_at(point: PrecisionPoint) -> float:
    """Largest error that is not a finding."""
    mean, eps = point.value if point.sweep == "offset" else 1.0, format_of(point.dtype).eps
    return float(max(eps**LOST_DIGITS, MEAN_ALLOWANCE * eps * mean))


def _squares_fit(made: Series, scale: float) -> bool:
    """Whether the format holds the squares that a variance is made of, and their sum."""
    least, largest = scale**2, 4 * made.geometry.n * scale**2
    return made.format.smallest < least and largest < made.format.largest


def said_of(point: PrecisionPoint) -> str:
    """Say what is wrong at a point."""
    errors = {
        name: error
        for name, error, exact in (
            ("y", point.y, point.exact_y),
            ("dx", point.dx, point.exact_dx),
        )
        if exact is not None
    }
    said = ", ".join(
        f"{name} is NaN or infinite" if error is None else f"error of {name} {error:.0e}"
        for name, error in errors.items()
    )
    return f"{said} at {_place(point)} ({point.dtype})"


def _place(point: PrecisionPoint) -> str:
    if point.sweep == "offset":
        return f"a mean of {point.value:g} standard deviations"
    return f"a standard deviation of {point.value:g}"


def _kept(points: Sequence[PrecisionPoint], good: Callable[[PrecisionPoint], bool]) -> str:
    """Say where half of the digits are left, and what is at the next point."""
    left = [point for point in points if good(point)]
    eps = format_of(points[0].dtype).eps
    worst = max(map(lost_at, left), default=0.0) / eps
    names = "means" if points[0].sweep == "offset" else "scales"
    if len(left) == len(points):
        return f"largest error {worst:.0f} units in the last place, over all {names}"
    beyond = next(point for point in points if not good(point))
    return (
        f"half of the digits are right at {len(left)} of {len(points)} {names}; {said_of(beyond)}"
    )
