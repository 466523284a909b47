"""The notes on a gradient: what is worth knowing beside the verdict, and is not a fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.decision import FOR_TRAINING, known_fault, near, path_of, vague
from backnorm.audit.kinds import has_mean
from backnorm.audit.record import OTHER_FUNCTION
from backnorm.audit.thresholds import STRAIGHT_THROUGH_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backnorm.audit.measure.gradient import Measurement
    from backnorm.audit.subject import Subject

__all__ = ["notes_on"]

RENORM: Final = "renorm_gradient"

RANDOM: Final = (
    "It draws random numbers. Each call of the audit draws the same numbers, and the gradient was "
    "judged with these held fixed."
)


def notes_on(
    subject: Subject, measurements: Sequence[Measurement], wrong: Sequence[Measurement]
) -> Iterator[str]:
    """Yield the notes on a subject.

    Parameters
    ----------
    subject
        The black box.
    measurements
        What was measured of it in each of its dtypes.
    wrong
        Those in which its gradient is wrong.
    """
    if subject.version:
        yield f"Its version is {subject.version}."
    if wrong and subject.misfit:
        yield f"{subject.misfit[0].upper()}{subject.misfit[1:]}."
    if measurements[0].random:
        yield RANDOM
    if measurements[0].comparison.responding:
        yield from _notes_on_law(subject, measurements[0])
    else:
        yield "y does not depend on x: the audit cannot tell what it normalizes with."
    yield from _notes_on_steps(measurements[0])
    others = [name for name in measurements[0].others if _is_untold(measurements, name)]
    if others:
        yield (
            f"The gradient of {' and '.join(others)} was not compared: y does not follow it, or "
            "not smoothly."
        )
    if 0 < len(wrong) < len(measurements):
        yield f"Found in {', '.join(m.dtype for m in wrong)} only."
    first = wrong[0] if wrong else None
    if first and first.forward_law.mode != "batch" and known_fault(first, FOR_TRAINING) == RENORM:
        yield (
            "dx treats the factor and the shift to the running statistics as constants, as batch"
            " renormalization does by design: dx is intentionally not the derivative of y."
        )
    if not any(map(vague, measurements)):
        yield from _notes_on_numbers(measurements)


def _notes_on_steps(m: Measurement) -> Iterator[str]:
    """Say what the gradient of a rounded y is beside the rounding, where the paths explain it."""
    shares = m.path_fit.coefficients
    listed = [
        f"{share + 0.0:.2f} of the {name}"
        for name, share in (
            ("direct path", shares.direct),
            ("path through the mean", shares.mean),
            ("path through the variance", shares.variance),
        )
        if share is not None
    ]
    passes = shares.direct is not None and near(shares.direct, 1.0, STRAIGHT_THROUGH_LIMIT)
    if m.comparison.staircase.found and passes and m.path_fit.residual < STRAIGHT_THROUGH_LIMIT:
        yield (
            "dx ignores the rounding of y, as a straight-through gradient does: it has "
            f"{', '.join(listed)}. This was not compared with a derivative."
        )


def _is_untold(measurements: Sequence[Measurement], name: str) -> bool:
    """Whether no dtype told the error of the gradient by a parameter beside gamma and beta."""
    return all(m.others.get(name) is None for m in measurements)


def _notes_on_law(subject: Subject, m: Measurement) -> Iterator[str]:
    if not has_mean(subject.kind):
        yield "This kind of normalization has no mean: the mean square is its only statistic."
    if m.forward_law.mode == "frozen" and subject.call == "train":
        yield "In training mode it normalizes with constants."
    evaluates = subject.call in ("eval", "both") and subject.kind == "batch"
    if m.forward_law.mode == "batch" and evaluates:
        yield "In evaluation mode it normalizes with the batch's statistics."
    if m.forward_law.mode == "other" and m.forward_law.straight:
        yield f"It normalizes with {m.forward_law}."
    if subject.stated_in and not subject.misfit and _is_other_function(m):
        yield (
            f"{OTHER_FUNCTION}{subject.kind}: the gradient was judged as that of another function."
            f" If it should be one, check kind, sample and params in {subject.stated_in}."
        )
    form = m.forward_law.form
    if form.gamma_law != "gamma":
        yield f"It multiplies by {form.gamma_law}."
    if form.activation is not None:
        yield f"It was judged through its activation, {form.activation.name}."
    if form.constants is not None:
        yield "It multiplies by constants beside gamma, or adds some beside beta."


def _is_other_function(m: Measurement) -> bool:
    """Whether y repeats, and is not normalized with a share of the rows' statistics at all."""
    law = m.forward_law
    return law.mode == "other" and law.blend is None and not vague(m)


def _notes_on_numbers(measurements: Sequence[Measurement]) -> Iterator[str]:
    paths = {m.dtype: path_of(m) for m in measurements}
    if len(set(paths.values())) > 1:
        listed = ", ".join(f"{path} in {dtype}" for dtype, path in paths.items())
        yield f"The gradient goes through: {listed}."
    if measurements[-1].dtype == "float64" and measurements[-1].comparison.resolution == "coarse":
        yield "It accepts float64 and computes in a narrower dtype."
    # The last dtype is the finest, in which the fewest are left out.
    skipped, kinked = measurements[-1].comparison.skipped, measurements[-1].comparison.kinked
    hidden = skipped - kinked
    if kinked:
        yield f"{kinked:.0%} of the elements were left out, since y has a kink there."
    if hidden > 0:
        yield f"{hidden:.0%} of the elements were left out: rounding hides the derivative there."
