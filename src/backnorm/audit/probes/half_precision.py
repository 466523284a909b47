"""The precision in float16 and bfloat16, where a subject accepts them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from backnorm.audit.findings import finding
from backnorm.audit.measure.dtypes import dtype_info
from backnorm.audit.probes.examination import failed, impossible, passed, skipped
from backnorm.audit.probes.precision import (
    NO_LAW,
    error_at,
    error_words,
    limit_at,
    measured_points,
    series_for,
)
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from backnorm.audit.probes.examination import Examination, ProbeOutcome
    from backnorm.audit.record import PrecisionPoint

__all__ = ["half_precision"]

DTYPES: Final = ("float16", "bfloat16")
OFFSETS: Final = (0.0, 1.0, 4.0)
SCALES: Final = (1e-2, 1.0, 1e2)
"""Usual inputs of layers. The sum of squares of 1e2 exceeds float16: a layer must allow for it."""


def half_precision(examination: Examination) -> ProbeOutcome:
    """Compare y and dx with the exact result in float16 and bfloat16, at usual means and scales."""
    runner = examination.subject.runner
    dtypes = [dtype for dtype in DTYPES if dtype in runner.can]
    if not dtypes:
        return impossible("the audit cannot call it in float16 or bfloat16")
    measured: dict[str, tuple[PrecisionPoint, ...]] = {}
    refused: dict[str, str] = {}
    for dtype in dtypes:
        subject = replace(examination.subject, runner=runner.variant(dtype))
        swept = series_for(examination, subject, dtype)
        if swept is None:
            return skipped(NO_LAW)
        try:
            measured[dtype] = (
                *measured_points(swept, "offset", OFFSETS),
                *measured_points(swept, "scale", SCALES),
            )
        except SubjectError as error:
            refused[dtype] = error.got
    words = [f"{dtype} is not accepted: {why}" for dtype, why in refused.items()]
    if not measured:
        return skipped("; ".join(words))
    words += [_units(points) for points in measured.values()]
    all_points = tuple(point for points in measured.values() for point in points)
    lost = "; ".join(error_words(p) for p in all_points if error_at(p) > limit_at(p))
    outcome = failed(lost, finding("N04", lost)) if lost else passed("; ".join(words))
    return replace(outcome, precision=all_points)


def _units(points: tuple[PrecisionPoint, ...]) -> str:
    dtype = points[0].dtype
    worst = max(map(error_at, points)) / dtype_info(dtype).eps
    return f"{dtype}: largest error {worst:.1f} units in the last place"
