"""Whether a subject that can differentiate its own gradient does so correctly, at order 2 and 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.findings import finding
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.measure.slope import slopes
from backnorm.audit.probes.examination import failed, impossible, passed, skipped
from backnorm.audit.thresholds import GRADIENT_LIMIT
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm._types import AnyArray
    from backnorm.audit.measure.inputs import Inputs
    from backnorm.audit.measure.slope import Slopes
    from backnorm.audit.probes.examination import Examination, ProbeOutcome
    from backnorm.audit.subjects.runner import Runner

__all__ = ["second_order", "third_order"]

TRIED: Final = ((3, 1.0), (4, 2.0**-8))
"""Batch size and standard deviation of x. In the last, an eps of 1e-5 weighs as much as the
variance."""

NAMES: Final = {2: "second", 3: "third"}


class Refused(Exception):  # noqa: N818 - a subject may refuse: this is not an error
    """The subject refuses to differentiate so often."""


def second_order(examination: Examination) -> ProbeOutcome:
    """Compare the second derivative with slopes of the gradient."""
    return _compared(examination, 2, "D02")


def third_order(examination: Examination) -> ProbeOutcome:
    """Compare the third derivative with slopes of the second."""
    if any(f.code == "D02" for f in examination.record.findings):
        return skipped("the second derivative is wrong (D02)")
    return _compared(examination, 3, "D03")


def _compared(examination: Examination, order: int, code: str) -> ProbeOutcome:
    runner = examination.subject.runner
    if "higher" not in runner.can:
        return impossible("the audit cannot differentiate its gradient again")
    if not examination.record.sound:
        return skipped("the gradient is not sound")
    rng, dtype = examination.rng("orders"), examination.finest.dtype
    drawn = [
        draw_inputs(examination.subject, rng, dtype, batch=n, scale=scale) for n, scale in TRIED
    ]
    try:
        comparisons = [_slopes(examination, runner, inputs, order, rng) for inputs in drawn]
    except Refused as refusal:
        return skipped(f"it raises in place of a derivative: {refusal}")
    return _judged(examination, comparisons, order, code)


def _judged(
    examination: Examination, comparisons: Sequence[Slopes], order: int, code: str
) -> ProbeOutcome:
    errors: dict[str, float] = {}
    for comparison in comparisons:
        for name, error in comparison.errors.items():
            errors[name] = max(error, errors.get(name, 0.0))
    if "x" not in errors:
        return skipped(f"kinks or rounding of dx hide its derivative of order {order}")
    listed = ", ".join(f"by {name} {error:.0e}" for name, error in errors.items())
    what = f"errors of the {NAMES[order]} derivative: {listed} ({examination.finest.dtype})"
    limit = GRADIENT_LIMIT[examination.finest.comparison.resolution]
    wrong = any(error > limit for error in errors.values())
    return failed(what, finding(code, what)) if wrong else passed(what)


def _slopes(
    examination: Examination, runner: Runner, inputs: Inputs, order: int, rng: np.random.Generator
) -> Slopes:
    """Compare a derivative with the slopes of the derivative one order below."""
    along = [rng.standard_normal(inputs.x.shape).astype(inputs.x.dtype) for _ in range(order - 1)]
    *before, last = along

    def number(at: Inputs) -> float:
        below = _by_x(runner, at, before) if before else at.run(examination.subject).dx
        return float(np.sum(np.asarray(below, np.float64) * last))

    dx = inputs.run(examination.subject).dx.astype(np.float64)
    floor = float(np.linalg.norm(dx)) / inputs.scale ** (order - 1)
    derivative = _higher(runner, inputs, along)
    fineness = examination.finest.comparison.resolution

    def numbers(points: Sequence[Inputs]) -> list[float]:
        return [number(at) for at in points]

    return slopes(numbers, derivative, inputs, floor=floor, fineness=fineness, rng=rng)


def _by_x(runner: Runner, at: Inputs, along: Sequence[AnyArray]) -> AnyArray:
    return _higher(runner, at, along).get("x", np.zeros_like(at.x))


def _higher(runner: Runner, at: Inputs, along: Sequence[AnyArray]) -> dict[str, AnyArray]:
    try:
        return dict(runner.higher(at.x, at.gamma, at.beta, at.dy, along))
    except SubjectError:
        raise
    except Exception as error:
        raise Refused(_words(error)) from error


def _words(error: Exception) -> str:
    """Return the type and the first line of an error."""
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])
