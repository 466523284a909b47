"""Whether values alone count: not their order in memory, nor whether x needs a gradient."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backnorm.audit.findings import finding
from backnorm.audit.measure.inputs import draw
from backnorm.audit.probes.case import failed, impossible, passed, skipped
from backnorm.audit.probes.trials import UNSOUND, words_of
from backnorm.audit.thresholds import LAYOUT_LIMIT
from backnorm.errors import BacknormError, SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backnorm._types import AnyArray
    from backnorm.audit.measure.inputs import Draw
    from backnorm.audit.probes.case import Case, Outcome
    from backnorm.audit.subjects.runner import Run

__all__ = ["input_without_gradient", "memory_layouts"]

NOTHING: Final = "G22"
"""Code of a gradient that is None. All other errors mean that such x is not taken."""

NAMES: Final = ("y", "dx", "dgamma", "dbeta")


def channels_last(array: AnyArray) -> AnyArray:
    """Put the axis of channels last in memory."""
    return np.moveaxis(np.moveaxis(array, 1, -1).copy(), -1, 1)


def transposed(array: AnyArray) -> AnyArray:
    """Reverse the order of all axes in memory."""
    return array.T.copy().T


def strided(array: AnyArray) -> AnyArray:
    """Leave a gap behind each value."""
    wide = np.full((*array.shape, 2), 7, dtype=array.dtype)
    wide[..., 0] = array
    return wide[..., 0]


def repeated(array: AnyArray) -> AnyArray:
    """Repeat the first sample with a stride of 0."""
    return np.broadcast_to(array[:1], array.shape)


LAYOUTS: Final[Mapping[str, Mapping[str, Callable[[AnyArray], AnyArray]]]] = {
    "x and dy channels last": {"x": channels_last, "dy": channels_last},
    "x channels last": {"x": channels_last},
    "dy channels last": {"dy": channels_last},
    "dy transposed": {"dy": transposed},
    "dy strided": {"dy": strided},
    "x strided": {"x": strided},
    "dy repeated": {"dy": repeated},
}
"""What is rearranged, and how."""


def memory_layouts(case: Case) -> Outcome:
    """Compare the gradient on values in another order in memory with that in the usual one."""
    if not case.record.sound:
        return skipped(UNSOUND)
    errors: dict[str, float] = {}
    refused: list[str] = []
    for dtype in case.subject.dtypes:
        one = draw(case.subject, case.rng("layouts"), dtype, batch=4)
        for name, how in LAYOUTS.items():
            error = _unlike(case, one, how)
            if isinstance(error, str):
                refused.append(f"{name}: {error}")
            else:
                errors[f"{name} ({dtype})"] = error / LAYOUT_LIMIT[_resolution(case, dtype)]
    wrong = ", ".join(name for name, error in errors.items() if error > 1)
    if wrong:
        return failed(wrong, finding("I01", wrong))
    if not errors:
        return skipped("; ".join(dict.fromkeys(refused)))
    tried = ", ".join(name for name in LAYOUTS if any(name in said for said in errors))
    return passed("; ".join([f"the same gradient for {tried}", *dict.fromkeys(refused)]))


def _resolution(case: Case, dtype: str) -> str:
    return next(m.comparison.resolution for m in case.measurements if m.dtype == dtype)


def _unlike(
    case: Case, one: Draw, how: Mapping[str, Callable[[AnyArray], AnyArray]]
) -> float | str:
    """Return the largest difference between both orders, or in which words one is refused."""
    changed: dict[str, Any] = {name: change(getattr(one, name)) for name, change in how.items()}
    other = replace(one, **changed)
    usual = replace(other, x=np.ascontiguousarray(other.x), dy=np.ascontiguousarray(other.dy))
    try:
        runs = other.run(case.subject), usual.run(case.subject)
    except BacknormError as error:
        return words_of(error)
    return max(_differences(*runs, NAMES).values())


def _differences(a: Run, b: Run, names: tuple[str, ...]) -> dict[str, float]:
    """Return the largest difference of each array, relative to its size."""
    found = {}
    for name in names:
        one, two = (getattr(run, name) for run in (a, b))
        if one is None and two is None:
            continue
        values = [np.zeros(()) if v is None else np.asarray(v, np.float64) for v in (one, two)]
        size = max(float(np.abs(v).max(initial=0.0)) for v in values)
        off = float(np.abs(values[0] - values[1]).max(initial=0.0))
        found[name] = off / size if size else 0.0
    return found


def input_without_gradient(case: Case) -> Outcome:
    """Compare dgamma and dbeta when x needs no gradient with those when it needs one."""
    subject = case.subject
    if not case.record.sound:
        return skipped(UNSOUND)
    if not (subject.has_gamma or subject.has_beta):
        return skipped("there is neither gamma nor beta")
    if "needs_dx" not in subject.runner.can:
        return impossible("x always needs a gradient")
    other = subject.runner.variant(needs_dx=False)
    one = draw(subject, case.rng("no dx"), case.finest.dtype, batch=4)
    try:
        without = one.run(replace(subject, runner=other))
    except BacknormError as error:
        what = f"where x needs no gradient: {words_of(error)}"
        nothing = isinstance(error, SubjectError) and error.code == NOTHING
        return failed(what, finding("I06", what)) if nothing else skipped(what)
    differ = _differences(without, one.run(subject), ("dgamma", "dbeta"))
    limit = LAYOUT_LIMIT[case.finest.comparison.resolution]
    wrong = {name: error for name, error in differ.items() if error > limit}
    if wrong:
        what = ", ".join(f"{name} differs by {error:.0e}" for name, error in wrong.items())
        return failed(what, finding("I06", what))
    return passed("dgamma and dbeta are the same where x needs no gradient")
