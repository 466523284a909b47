"""Whether a subject that differentiates its own gradient does so rightly: at order 2 and at 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.findings import finding
from backnorm.audit.measure.inputs import draw
from backnorm.audit.measure.slope import slopes
from backnorm.audit.probes.case import failed, impossible, passed, skipped
from backnorm.audit.thresholds import GRADIENT_LIMIT
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm._types import AnyArray
    from backnorm.audit.measure.inputs import Draw
    from backnorm.audit.measure.slope import Slopes
    from backnorm.audit.probes.case import Case, Outcome
    from backnorm.audit.subjects.runner import Runner

__all__ = ["second_order", "third_order"]

PROBES: Final = ((3, 1.0), (4, 2.0**-8))
"""Batch size and standard deviation of x; in the last eps of 1e-5 weighs as much as the
variance."""

NAMES: Final = {2: "second", 3: "third"}


class Refused(Exception):  # noqa: N818 - no error: a subject may refuse
    """The subject does not differentiate so often, and says so."""


def second_order(case: Case) -> Outcome:
    """Compare the second derivative with slopes of the gradient."""
    return _examined(case, 2, "D02")


def third_order(case: Case) -> Outcome:
    """Compare the third derivative with slopes of the second."""
    if any(found.code == "D02" for found in case.record.findings):
        return skipped("the second derivative is wrong already (D02)")
    return _examined(case, 3, "D03")


def _examined(case: Case, order: int, code: str) -> Outcome:
    runner = case.subject.runner
    if "higher" not in runner.can:
        return impossible("it cannot be asked for derivatives of its gradient")
    if not case.record.sound:
        return skipped("the gradient itself is not sound")
    rng = case.rng("orders")
    draws = [
        draw(case.subject, rng, case.finest.dtype, batch=n, scale=scale) for n, scale in PROBES
    ]
    try:
        seen = [_slopes(case, runner, one, order, rng) for one in draws]
    except Refused as refusal:
        return skipped(f"it refuses: {refusal}")
    return _judged(case, seen, order, code)


def _judged(case: Case, seen: Sequence[Slopes], order: int, code: str) -> Outcome:
    errors: dict[str, float] = {}
    for one in seen:
        for name, error in one.errors.items():
            errors[name] = max(error, errors.get(name, 0.0))
    if "x" not in errors:
        return skipped(f"dx has kinks nearly everywhere: there is no derivative of order {order}")
    said = ", ".join(f"by {name} {error:.0e}" for name, error in errors.items())
    what = f"errors of the {NAMES[order]} derivative: {said} ({case.finest.dtype})"
    limit = GRADIENT_LIMIT[case.finest.comparison.resolution]
    wrong = any(error > limit for error in errors.values())
    return failed(what, finding(code, what)) if wrong else passed(what)


def _slopes(case: Case, runner: Runner, one: Draw, order: int, rng: np.random.Generator) -> Slopes:
    """Compare one derivative with the slopes of the one below it."""
    along = [rng.standard_normal(one.x.shape).astype(one.x.dtype) for _ in range(order - 1)]
    *before, last = along

    def number(at: Draw) -> float:
        below = _by_x(runner, at, before) if before else at.run(case.subject).dx
        return float(np.sum(np.asarray(below, np.float64) * last))

    dx = one.run(case.subject).dx.astype(np.float64)
    floor = float(np.linalg.norm(dx)) / one.scale ** (order - 1)
    got = _higher(runner, one, along)
    fineness = case.finest.comparison.resolution
    return slopes(number, got, one, floor=floor, fineness=fineness, rng=rng)


def _by_x(runner: Runner, at: Draw, along: Sequence[AnyArray]) -> AnyArray:
    return _higher(runner, at, along).get("x", np.zeros_like(at.x))


def _higher(runner: Runner, at: Draw, along: Sequence[AnyArray]) -> dict[str, AnyArray]:
    try:
        found = runner.higher(at.x, at.gamma, at.beta, at.dy, along)
    except SubjectError:
        raise
    except Exception as error:
        raise Refused(_words(error)) from error
    return dict(found)


def _words(error: Exception) -> str:
    """Return the type and the first line of an error."""
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])
