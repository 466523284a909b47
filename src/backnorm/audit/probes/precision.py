"""The precision where the mean of x is large, and at small and large scales of x."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from backnorm.audit.findings import finding
from backnorm.audit.measure.dtypes import dtype_info
from backnorm.audit.measure.exact import exact_law
from backnorm.audit.measure.sweeps import series, worse
from backnorm.audit.probes.examination import failed, passed, skipped
from backnorm.audit.thresholds import LOST_DIGITS, MEAN_ALLOWANCE, WHOLE_Y

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm.audit.measure.sweeps import Series
    from backnorm.audit.probes.examination import Examination, ProbeOutcome
    from backnorm.audit.record import PrecisionPoint, Sweep
    from backnorm.audit.subject import Subject

__all__ = [
    "NO_LAW",
    "error_at",
    "error_words",
    "limit_at",
    "measured_points",
    "over_means",
    "over_scales",
    "series_for",
]

BATCH: Final = 64
"""Samples: enough values for a sum, few enough that sums in the dtype of x keep their digits."""

OFFSETS: Final = (0.0, 1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
SCALES: Final = tuple(float(f"1e{power}") for power in range(-20, 21, 4))

NO_LAW: Final = "its y follows no law of which the exact result is known"

WITH_SPACE: Final = 4
"""With so many axes of x, or more, channels may come last in memory."""


def over_means(examination: Examination) -> ProbeOutcome:
    """Compare y and dx with the exact result of the same law, for means of 0 to 1e6 deviations."""
    swept = series_for(examination, examination.subject, examination.subject.dtypes[0])
    if swept is None:
        return skipped(NO_LAW)
    points = measured_points(swept, "offset", OFFSETS)
    lost = [error_words(p) for p in points if error_at(p) > limit_at(p)]
    findings = [finding("N01", words) for words in lost[:1]]
    wrong = [error_words(p) for p in points if _y_error(p) > max(WHOLE_Y, limit_at(p))]
    findings += [finding("I07", words) for words in wrong[:1]]
    if findings:
        outcome = failed("; ".join(f.got for f in findings), *findings)
    else:
        outcome = passed(_accuracy(points))
    return replace(outcome, precision=points)


def over_scales(examination: Examination) -> ProbeOutcome:
    """Compare y and dx with the exact result of the same law, for scales of 1e-20 to 1e20."""
    swept = series_for(examination, examination.subject, examination.subject.dtypes[0])
    if swept is None:
        return skipped(NO_LAW)
    measured = measured_points(swept, "scale", SCALES)
    # Where eps decides and is not known, nothing but NaN and infinity can be judged.
    points = tuple(
        p for p in measured if swept.law.is_known_at(p.value) or error_at(p) == float("inf")
    )
    infinite = [p for p in points if error_at(p) == float("inf")]
    lost = [
        p
        for p in points
        if limit_at(p) < error_at(p) < float("inf") and _squares_fit(swept, p.value)
    ]
    findings = [finding("N02", error_words(p)) for p in lost[:1]]
    findings += [finding("N03", error_words(p)) for p in infinite[:1]]
    if findings:
        outcome = failed("; ".join(f.got for f in findings), *findings)
    else:
        outcome = passed(_accuracy(points))
    return replace(outcome, precision=points)


def series_for(examination: Examination, subject: Subject, dtype: str) -> Series | None:
    """Draw what the inputs of a sweep share; None where no law is known."""
    forward_law, rng = examination.laws[0], examination.rng("exact law")
    law = exact_law(examination.subject, forward_law, rng, batch=BATCH)
    if law is None:
        return None
    rng = examination.rng("precision")
    return series(subject, law, rng, dtype, batch=BATCH, judged=examination.record.sound is True)


def measured_points(
    swept: Series, sweep: Sweep, values: Sequence[float]
) -> tuple[PrecisionPoint, ...]:
    """Measure points, each in the order in memory that has the larger errors."""
    points = [swept.point(sweep, value) for value in values]
    if len(swept.geometry.shape) >= WITH_SPACE:
        others = [swept.point(sweep, value, channels_last=True) for value in values]
        points = [worse(a, b) for a, b in zip(points, others, strict=True)]
    return tuple(points)


def error_at(point: PrecisionPoint) -> float:
    """Return the largest error of y and dx; infinite where a value should be finite and is not."""
    pairs = ((point.y, point.exact_y), (point.dx, point.exact_dx))
    return max(
        (float("inf") if e is None else e for e, exact in pairs if exact is not None), default=0.0
    )


def _y_error(point: PrecisionPoint) -> float:
    """Return the error of y; infinite where y should be finite and is not."""
    if point.exact_y is None:
        return 0.0
    return float("inf") if point.y is None else point.y


def limit_at(point: PrecisionPoint) -> float:
    """Return the largest error that is allowed."""
    mean, eps = point.value if point.sweep == "offset" else 1.0, dtype_info(point.dtype).eps
    return float(max(eps**LOST_DIGITS, MEAN_ALLOWANCE * eps * mean))


def _squares_fit(swept: Series, scale: float) -> bool:
    """Whether the dtype holds the squares that make up a variance, and their sum."""
    least, largest = scale**2, 4 * swept.geometry.n * scale**2
    return swept.dtype.smallest < least and largest < swept.dtype.largest


def error_words(point: PrecisionPoint) -> str:
    """Return the errors at a point in words."""
    errors = {
        name: error
        for name, error, exact in (
            ("y", point.y, point.exact_y),
            ("dx", point.dx, point.exact_dx),
        )
        if exact is not None
    }
    words = ", ".join(
        f"{name} is NaN or infinite" if error is None else f"error of {name} {error:.0e}"
        for name, error in errors.items()
    )
    return f"{words} at {_position(point)} ({point.dtype})"


def _position(point: PrecisionPoint) -> str:
    if point.sweep == "offset":
        return f"a mean of {point.value:g} standard deviations"
    return f"a standard deviation of {point.value:g}"


def _accuracy(points: Sequence[PrecisionPoint]) -> str:
    """Say at how many points half of the digits are left, and the errors at the next point."""
    eps = dtype_info(points[0].dtype).eps
    good = [point for point in points if error_at(point) <= eps**LOST_DIGITS]
    worst = max(map(error_at, good), default=0.0) / eps
    names = "means" if points[0].sweep == "offset" else "scales"
    if len(good) == len(points):
        return f"largest error {worst:.0f} units in the last place, over all {names}"
    beyond = error_words(next(point for point in points if point not in good))
    return f"half of the digits are right at {len(good)} of {len(points)} {names}; {beyond}"
