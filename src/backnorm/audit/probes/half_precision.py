"""The precision in float16 and bfloat16, where a subject accepts them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from backnorm.audit.boxes import Variant, VariedBox
from backnorm.audit.findings import finding
from backnorm.audit.measure.dtypes import format_of
from backnorm.audit.probes.case import failed, passed, skipped
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

NOT_ASKED: Final = "its adapter does not call it in float16 or bfloat16"

FORMATS: Final = ("float16", "bfloat16")
OFFSETS: Final = (0.0, 1.0, 4.0)
SCALES: Final = (1e-2, 1.0, 1e2)
"""What layers usually see. 1e2 squared and summed is beyond float16, which a layer must know."""


def in_half_formats(case: Case) -> Outcome:
    """Compare y and dx with the exact result in float16 and bfloat16, at usual means and scales."""
    box = case.subject.box
    if not isinstance(box, VariedBox):
        return skipped(NOT_ASKED)
    measured: dict[str, tuple[PrecisionPoint, ...]] = {}
    refused: dict[str, str] = {}
    for dtype in FORMATS:
        other = box.variant(Variant(dtype=dtype))
        made = other and series_of(case, replace(case.subject, box=other), dtype)
        if other is None:
            continue
        if not made:
            return skipped(NO_LAW)
        try:
            measured[dtype] = (
                *measured_points(made, "offset", OFFSETS),
                *measured_points(made, "scale", SCALES),
            )
        except SubjectError as error:
            refused[dtype] = error.got
    said = [f"{dtype} is not accepted: {why}" for dtype, why in refused.items()]
    if not measured:
        return skipped("; ".join(said) or NOT_ASKED)
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
    return f"{dtype}: largest error {worst:.1f} units in the last place"
