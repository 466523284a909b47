"""Whether the gradient depends on more than values: on their order in memory, or on needing dx."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backnorm.audit.findings import finding
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.probes.examination import failed, impossible, passed, skipped
from backnorm.audit.probes.trials import UNSOUND, Trial, judged, quoted
from backnorm.audit.thresholds import LAYOUT_LIMIT
from backnorm.errors import BacknormError, SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from backnorm._types import AnyArray
    from backnorm.audit.measure.inputs import Inputs
    from backnorm.audit.probes.examination import Examination, ProbeOutcome
    from backnorm.audit.subjects.runner import Run

__all__ = ["differences", "input_without_gradient", "memory_layouts"]

NOTHING: Final = "G22"
"""Code of a gradient that is None. Any other error means that such an x is refused."""

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


def memory_layouts(examination: Examination) -> ProbeOutcome:
    """Compare the gradient in other memory orders with that in the usual memory order.

    Random numbers may be drawn in the order of the memory: then y is another function of x in each
    order, and the gradient is compared with the derivative there.
    """
    if not examination.record.sound:
        return skipped(UNSOUND)
    if examination.finest.random:
        return judged(examination, _in_layouts(examination), "I01")
    errors: dict[str, float] = {}
    refused: list[str] = []
    for dtype in examination.subject.dtypes:
        inputs = draw_inputs(examination.subject, examination.rng("layouts"), dtype, batch=4)
        for name, how in LAYOUTS.items():
            error = _unlike(examination, inputs, how)
            if isinstance(error, str):
                refused.append(f"{name}: {error}")
            else:
                errors[f"{name} ({dtype})"] = error / LAYOUT_LIMIT[_resolution(examination, dtype)]
    wrong = ", ".join(name for name, error in errors.items() if error > 1)
    if wrong:
        return failed(wrong, finding("I01", wrong))
    if not errors:
        return skipped("; ".join(dict.fromkeys(refused)))
    tried = ", ".join(
        name for name in LAYOUTS if any(key.startswith(f"{name} (") for key in errors)
    )
    return passed("; ".join([f"the same gradient for {tried}", *dict.fromkeys(refused)]))


def _in_layouts(examination: Examination) -> Iterator[Trial]:
    subject, dtype = examination.subject, examination.finest.dtype
    inputs = draw_inputs(subject, examination.rng("layouts"), dtype, batch=4)
    for name, how in LAYOUTS.items():
        yield Trial(name, subject, _rearranged(inputs, how), rearrange=how.get("x"))


def _rearranged(inputs: Inputs, how: Mapping[str, Callable[[AnyArray], AnyArray]]) -> Inputs:
    changed: dict[str, Any] = {name: change(getattr(inputs, name)) for name, change in how.items()}
    return replace(inputs, **changed)


def _resolution(examination: Examination, dtype: str) -> str:
    return next(m.comparison.resolution for m in examination.measurements if m.dtype == dtype)


def _unlike(
    examination: Examination, inputs: Inputs, how: Mapping[str, Callable[[AnyArray], AnyArray]]
) -> float | str:
    """Return the largest difference between both orders, or the words of a refusal."""
    other = _rearranged(inputs, how)
    usual = replace(other, x=np.ascontiguousarray(other.x), dy=np.ascontiguousarray(other.dy))
    try:
        runs = other.run(examination.subject), usual.run(examination.subject)
    except BacknormError as error:
        return quoted(error)
    return max(differences(*runs, NAMES).values())


def differences(a: Run, b: Run, names: tuple[str, ...]) -> dict[str, float]:
    """Return the largest difference of each array, relative to its size."""
    differences = {}
    for name in names:
        pair = getattr(a, name), getattr(b, name)
        if pair[0] is None and pair[1] is None:
            continue
        first, second = (np.zeros(()) if v is None else np.asarray(v, np.float64) for v in pair)
        size = max(float(np.abs(v).max(initial=0.0)) for v in (first, second))
        difference = float(np.abs(first - second).max(initial=0.0))
        differences[name] = difference / size if size else 0.0
    return differences


def input_without_gradient(examination: Examination) -> ProbeOutcome:
    """Compare dgamma and dbeta where x needs no gradient with those where x needs one."""
    subject = examination.subject
    if not examination.record.sound:
        return skipped(UNSOUND)
    if "needs_dx" not in subject.runner.can:
        return impossible("its adapter cannot leave out the gradient of x")
    other = subject.runner.variant(needs_dx=False)
    inputs = draw_inputs(subject, examination.rng("no dx"), examination.finest.dtype, batch=4)
    usual = inputs.run(subject)
    if not any(g is not None and np.any(g) for g in (usual.dgamma, usual.dbeta)):
        return skipped("y depends on neither gamma nor beta")
    try:
        without = inputs.run(replace(subject, runner=other))
    except BacknormError as error:
        what = f"where x needs no gradient: {quoted(error)}"
        nothing = isinstance(error, SubjectError) and error.code == NOTHING
        return failed(what, finding("I06", what)) if nothing else skipped(what)
    differ = differences(without, usual, ("dgamma", "dbeta"))
    limit = LAYOUT_LIMIT[examination.finest.comparison.resolution]
    wrong = {name: error for name, error in differ.items() if error > limit}
    if wrong:
        what = ", ".join(f"{name} differs by {error:.0e}" for name, error in wrong.items())
        return failed(what, finding("I06", what))
    return passed("dgamma and dbeta are the same where x needs no gradient")
