"""How many digits are left in float16 and bfloat16, where a subject takes them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from backnorm.audit.findings import finding
from backnorm.audit.measure.dtypes import format_of
from backnorm.audit.probes.case import failed, impossible, passed, skipped
from backnorm.audit.probes.precision import (
    NO_LAW,
    limit_at,
    lost_at,
    measured_points,
    said_of,
    series_of,
)
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from backnorm.audit.probes.case import Case, Outcome
    from backnorm.audit.record import PrecisionPoint

__all__ = ["in_half_formats"]

FORMATS: Final = ("float16", "bfloat16")
OFFSETS: Final = (0.0, 1.0, 4.0)
SCALES: Final = (1e-2, 1.0, 1e2)
"""What layers usually see. 1e2 squared and summed is beyond float16, which a layer must know."""


def in_half_formats(case: Case) -> Outcome:
    """Compare y and dx with the exact result in float16 and bfloat16, at usual means and scales."""
    runner = case.subject.runner
    formats = [dtype for dtype in FORMATS if dtype in runner.can]
    if not formats:
        return impossible("it cannot be asked for half formats")
    measured: dict[str, tuple[PrecisionPoint, ...]] = {}
    refused: dict[str, str] = {}
    for dtype in formats:
        made = series_of(case, replace(case.subject, runner=runner.variant(dtype)), dtype)
        if not made:
            return skipped(NO_LAW)
        try:
            measured[dtype] = (
                *measured_points(made, "offset", OFFSETS),
                *measured_points(made, "scale", SCALES),
            )
        except SubjectError as error:
            refused[dtype] = error.got
    said = [f"{dtype} is not taken: {why}" for dtype, why in refused.items()]
    if not measured:
        return skipped("; ".join(said))
    said += [_units(points) for points in measured.values()]
    lost = [
        point
        for points in measured.values()
        for point in points
        if lost_at(point) > limit_at(point)
    ]
    if lost:
        worst = "; ".join(said_of(point) for point in lost)
        outcome = failed(worst, finding("N04", worst))
    else:
        outcome = passed("; ".join(said))
    return replace(outcome, precision=tuple(p for points in measured.values() for p in points))


def _units(points: tuple[PrecisionPoint, ...]) -> str:
    dtype = points[0].dtype
    worst = max(map(lost_at, points)) / format_of(dtype).eps
    return f"{dtype}: errors of {worst:.1f} units in the last place at most"
