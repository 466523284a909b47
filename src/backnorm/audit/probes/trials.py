"""What the probes of inputs share: the gradient on each of some inputs, and its judgement."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.findings import finding
from backnorm.audit.measure.derivative import direct_size
from backnorm.audit.measure.slope import slopes
from backnorm.audit.probes.examination import failed, passed, skipped
from backnorm.audit.thresholds import GRADIENT_LIMIT
from backnorm.errors import BacknormError, SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.audit.measure.derivative import Resolution
    from backnorm.audit.measure.inputs import Inputs
    from backnorm.audit.probes.examination import Examination, ProbeOutcome
    from backnorm.audit.subject import Subject

__all__ = ["UNSOUND", "Trial", "judged", "quiet", "quoted"]

UNSOUND: Final = "the gradient is wrong, or was not judged, on usual inputs"
"""Why unusual inputs are not tried."""

NOT_FINITE: Final = "G24"
"""Code of the error for NaN and infinity. Any other error means that the input is refused."""

RAISED: Final = "G20"
"""Code of an error in the subject's own code."""

QUOTED: Final = 80
"""Letters of an error that are quoted: enough to say which, since a refusal is not a fault."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Inputs that are tried.

    Attributes
    ----------
    name
        What reports call them.
    subject
        The subject, of the shape that these inputs have.
    inputs
        The inputs.
    resolution
        How finely y follows x on them; None for as finely as on usual inputs.
    may_be_nan
        Whether NaN is allowed there.
    rearrange
        What puts x in its order in memory, which arithmetic on x does not keep; None for the usual
        order.
    """

    name: str
    subject: Subject
    inputs: Inputs
    resolution: Resolution | None = None
    may_be_nan: bool = False
    rearrange: Callable[[AnyArray], AnyArray] | None = None


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The result of a trial in words, whether the inputs were accepted, and whether it is wrong."""

    what: str
    accepted: bool = True
    wrong: bool = False


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let a subject divide by zero without a warning: its result is judged instead."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def quoted(error: BacknormError) -> str:
    """Return the words of an error, cut to `QUOTED` letters.

    Of an error in the subject's code that is what was raised, else what the subject returned.
    """
    words = f"{type(error).__name__}: {error}"
    if isinstance(error, SubjectError):
        said = error.problem.removeprefix(f"{error.name} ").rstrip(".")
        words = error.got if error.code == RAISED else said
    return words if len(words) <= QUOTED else f"{words[:QUOTED]}..."


def judged(examination: Examination, trials: Iterable[Trial], code: str) -> ProbeOutcome:
    """Compare the gradient with the derivative in each trial.

    Parameters
    ----------
    examination
        The subject.
    trials
        The inputs.
    code
        The finding if the gradient is wrong in one trial.

    Returns
    -------
    ProbeOutcome
        Skipped if the subject refuses all inputs.
    """
    with quiet():
        results = [_result(examination, trial, examination.rng(code)) for trial in trials]
    words = "; ".join(result.what for result in results)
    wrong = [result.what for result in results if result.wrong]
    if wrong:
        return failed(words, finding(code, "; ".join(wrong)))
    return passed(words) if any(result.accepted for result in results) else skipped(words)


def _result(examination: Examination, trial: Trial, rng: np.random.Generator) -> TrialResult:
    fineness = trial.resolution or examination.finest.comparison.resolution
    try:
        errors = _errors(examination, trial, fineness, rng)
    except BacknormError as error:
        code = error.code if isinstance(error, SubjectError) else ""
        wrong = code == NOT_FINITE and not trial.may_be_nan
        return TrialResult(f"{trial.name}: {quoted(error)}", accepted=wrong, wrong=wrong)
    if "x" not in errors:
        return TrialResult(f"{trial.name}: finite, but the derivative cannot be measured")
    worst = max(errors, key=lambda name: errors[name])
    what = f"{trial.name}: error of d{worst} {errors[worst]:.0e}"
    return TrialResult(what, wrong=errors[worst] > GRADIENT_LIMIT[fineness])


def _errors(
    examination: Examination, trial: Trial, fineness: Resolution, rng: np.random.Generator
) -> Mapping[str, float]:
    subject, inputs = trial.subject, trial.inputs
    run, dy = inputs.run(subject), inputs.dy.astype(np.float64)
    gradients = {"x": run.dx, "gamma": run.dgamma, "beta": run.dbeta}
    known = {name: value for name, value in gradients.items() if value is not None}
    size = max(direct_size(inputs, run.y), _size_where_constant(examination, inputs))

    def arranged(x: AnyArray) -> AnyArray:
        return x if trial.rearrange is None else trial.rearrange(np.ascontiguousarray(x))

    def losses(points: Sequence[Inputs]) -> list[float]:
        outputs = subject.forwards([(arranged(at.x), at.gamma, at.beta) for at in points])
        return [float(np.sum(y.astype(np.float64) * dy)) for y in outputs]

    floor = size * np.sqrt(dy.size)
    names = [*gradients]
    return slopes(
        losses, known, inputs, floor=floor, fineness=fineness, rng=rng, names=names
    ).errors


def _size_where_constant(examination: Examination, inputs: Inputs) -> float:
    """Return the size of the direct path in rows whose variance is 0, where y does not show it.

    Without it nothing would remain there to compare rounding with: the exact dx is nearly 0.
    """
    law = examination.finest.forward_law
    if law.variance_rule is None or not law.variance_rule.eps:
        return 0.0
    rows = inputs.geometry.rows(inputs.x)
    constant = np.ptp(rows, axis=1, keepdims=True) == 0
    if not constant.any():
        return 0.0
    inv_std = law.variance_rule.inv_std(np.zeros((1, 1)), 2)
    gamma = law.form.gamma(inputs)
    direct = gamma * inv_std * inputs.geometry.rows(inputs.dy) * constant
    return float(np.sqrt(np.mean(direct**2)))
