"""What checks of inputs share: the gradient on each of some inputs, and what to say of it."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.findings import finding
from backnorm.audit.measure.derivative import direct_size
from backnorm.audit.measure.slope import slopes
from backnorm.audit.probes.case import failed, passed, skipped
from backnorm.audit.thresholds import GRADIENT_LIMIT
from backnorm.errors import BacknormError, SubjectError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from backnorm.audit.measure.derivative import Resolution
    from backnorm.audit.measure.inputs import Draw
    from backnorm.audit.probes.case import Case, Outcome
    from backnorm.audit.subject import Subject

__all__ = ["UNSOUND", "Attempt", "judged", "quiet", "words_of"]

UNSOUND: Final = "the gradient is not sound on usual inputs"
"""Why the gradient on unusual ones is not looked at."""

NOT_FINITE: Final = "G24"
"""Code of NaN and infinity. All other errors mean that an input is not taken."""

FEW: Final = 80
"""Letters of an error that are quoted: the kind of error is enough, since it is not a finding."""


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """An input that is tried.

    Attributes
    ----------
    name
        What reports call it.
    subject
        The subject, of the shape that this input has.
    one
        The input.
    resolution
        How finely y follows x on it; None for as finely as on usual ones.
    may_be_nan
        Whether NaN is allowed there.
    """

    name: str
    subject: Subject
    one: Draw
    resolution: Resolution | None = None
    may_be_nan: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What an attempt came to: in words, and whether it is taken, and wrong."""

    what: str
    taken: bool = True
    wrong: bool = False


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let a subject divide by zero without a warning: what comes of it is looked at."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def words_of(error: BacknormError) -> str:
    """Return in a few words what a subject returned in place of a gradient."""
    said = error.got if isinstance(error, SubjectError) else f"{type(error).__name__}: {error}"
    return said if len(said) <= FEW else f"{said[:FEW]}..."


def judged(case: Case, attempts: Iterable[Attempt], code: str) -> Outcome:
    """Compare the gradient on each input with the derivative there.

    Parameters
    ----------
    case
        The subject.
    attempts
        The inputs.
    code
        The finding if it is wrong on one.

    Returns
    -------
    Outcome
        Skipped if no input is taken.
    """
    with quiet():
        seen = [_seen(case, attempt, case.rng(code)) for attempt in attempts]
    said = "; ".join(one.what for one in seen)
    wrong = [one.what for one in seen if one.wrong]
    if wrong:
        return failed(said, finding(code, "; ".join(wrong)))
    return passed(said) if any(one.taken for one in seen) else skipped(said)


def _seen(case: Case, attempt: Attempt, rng: np.random.Generator) -> Seen:
    fineness = attempt.resolution or case.finest.comparison.resolution
    try:
        errors = _errors(attempt.subject, attempt.one, fineness, rng)
    except BacknormError as error:
        code = error.code if isinstance(error, SubjectError) else ""
        wrong = code == NOT_FINITE and not attempt.may_be_nan
        return Seen(f"{attempt.name}: {words_of(error)}", taken=wrong, wrong=wrong)
    if "x" not in errors:
        return Seen(f"{attempt.name}: finite, but not differentiable")
    worst = max(errors, key=lambda name: errors[name])
    what = f"{attempt.name}: error of d{worst} {errors[worst]:.0e}"
    return Seen(what, wrong=errors[worst] > GRADIENT_LIMIT[fineness])


def _errors(
    subject: Subject, one: Draw, fineness: Resolution, rng: np.random.Generator
) -> Mapping[str, float]:
    run, dy = one.run(subject), one.dy.astype(np.float64)
    names = {"x": run.dx, "gamma": run.dgamma, "beta": run.dbeta}
    known = {name: value for name, value in names.items() if value is not None}
    floor = direct_size(one, run.y) * np.sqrt(dy.size)

    def loss(at: Draw) -> float:
        return float(np.sum(at.forward(subject).astype(np.float64) * dy))

    found = slopes(loss, known, one, floor=floor, fineness=fineness, rng=rng, names=[*names])
    return found.errors
