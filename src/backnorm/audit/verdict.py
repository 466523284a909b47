"""The verdict on the gradient: from what was measured to a record with findings.

`backnorm.audit.decision` has the rule that it follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.decision import (
    FOR_TRAINING,
    exceeds,
    known_fault,
    path_of,
    vague,
    verdict_of,
    why_not_judged,
)
from backnorm.audit.findings import finding
from backnorm.audit.kinds import has_mean
from backnorm.audit.measure.wavering import largest_wavering
from backnorm.audit.notes import notes_on
from backnorm.audit.record import Errors, Record
from backnorm.audit.thresholds import REPEAT_LIMIT, SCALE_FREE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backnorm.audit.measure.gradient import Measurement
    from backnorm.audit.record import Finding, Path
    from backnorm.audit.subject import Subject

__all__ = ["judge"]

PATH_CODES: Final[Mapping[Path, str]] = {"variance": "G01", "mean": "G02", "none": "G03"}
"""Finding where only this path is in dx."""

FAULT_CODES: Final[Mapping[str, str]] = {
    "no_gamma": "G08",
    "mean_cut_in_square": "G06",
    "square_cut_only": "G06",
    "other_divisor": "G07",
    "variance_not_divided": "G09",
    "mean_not_divided": "G09",
    "neither_divided": "G09",
    "divided_by_samples": "G09",
    "eps_elsewhere": "G10",
}
"""Finding where dx is the dx that a known fault makes."""

ABOUT_EPS: Final = ("G10", "G12")
"""Findings that the place or the size of eps may explain."""


def judge(subject: Subject, measurements: Sequence[Measurement]) -> Record:
    """Judge a subject by what was measured in each of its dtypes.

    The first dtype in which the gradient is wrong decides. If the gradient is right in every dtype,
    the shares are those of the first dtype, and the errors those of the last, the finest.
    """
    wrong = [m for m in measurements if verdict_of(m) is False]
    unclear = [m for m in measurements if verdict_of(m) is None]
    shown = (wrong or unclear or measurements)[0]
    finest = shown if wrong or unclear else measurements[-1]
    path = path_of(shown)
    compared = finest.comparison.errors
    unearned = "" if wrong or unclear else subject.misfit
    return Record(
        target=subject.name,
        kind=subject.kind,
        mode=shown.forward_law.mode,
        through=path,
        coefficients=shown.path_fit.coefficients,
        residual=shown.path_fit.residual,
        sound=None if unearned else verdict_of(shown),
        not_judged=unearned or (why_not_judged(shown) if unclear and not wrong else ""),
        findings=tuple(_findings(subject, shown, path)) if wrong or unclear else (),
        errors=Errors(finest.path_fit.y_error, compared.dx, compared.dgamma, compared.dbeta),
        law=_law(shown, finest),
        notes=(*subject.notes, *notes_on(subject, measurements, wrong)),
        expected=subject.expected,
        parts=shown.path_fit.channel if shown.forward_law.straight else None,
    )


def _law(shown: Measurement, finest: Measurement) -> str:
    """Return the law in words: by the finest dtype, which shows more digits of eps."""
    if not shown.comparison.responding:
        return "no statistics that could be seen: y does not depend on x"
    same = shown.forward_law.mode == finest.forward_law.mode
    return str((finest if same else shown).forward_law)


def _findings(subject: Subject, m: Measurement, path: Path) -> Iterator[Finding]:
    errors = m.comparison.certain
    if vague(m):
        differ = f"a difference of {m.comparison.unrepeated:.1e} of the largest y"
        differ += " between calls with and without a gradient" * m.comparison.by_pass
        if m.comparison.unrepeated <= REPEAT_LIMIT:
            differ = "{} differs by {:.1e} of its size".format(
                *largest_wavering(m.comparison.wavering)
            )
        hidden = m.comparison.skipped - m.comparison.kinked
        rough = f"kinks at {m.comparison.kinked:.0%} of the elements"
        rough += f", rounding that hides the derivative at {hidden:.0%}" if hidden > 0 else ""
        steps = m.comparison.staircase
        rough = f"y in {steps} at {steps.share:.0%} of its elements" if steps.found else rough
        yield finding(vague(m), differ if vague(m) == "G16" else rough)
        return
    code = _dx_code(subject, m, path) if exceeds(m, errors.dx) else ""
    if code:
        of_y = _eps_of(m) if code in ABOUT_EPS else ""
        yield finding(code, f"{_blended(m, path)}{_shares(m)}{of_y}")
    if exceeds(m, errors.dgamma):
        of_y = _eps_of(m) if code == "G10" else ""
        yield finding("G13", f"an error of {errors.dgamma:.1e} of the largest dgamma{of_y}")
    if exceeds(m, errors.dbeta):
        yield finding("G14", f"an error of {errors.dbeta:.1e} of the largest dbeta")
    if verdict_of(m) is None:
        yield finding("G18", f"y changes with {m.comparison.responding:.0%} of the elements of x")
    compared = [(name, error) for name, error in m.others.items() if error is not None]
    wrong = [f"{name} {error:.1e}" for name, error in compared if exceeds(m, error)]
    if wrong:
        errs = ", ".join(wrong)
        yield finding("G19", f"errors, relative to the derivative: {errs}")


def _dx_code(subject: Subject, m: Measurement, path: Path) -> str:
    """Return the code of what is wrong with dx: by its shares, else by a known fault."""
    fault = FAULT_CODES.get(known_fault(m, FAULT_CODES), "G05")
    if path == "both" and _has_own_scale(m):
        return "G17"
    if m.forward_law.mode != "batch" and known_fault(m, FOR_TRAINING):
        return "G04" if m.forward_law.mode == "frozen" else "G11"
    if m.forward_law.mode == "frozen":
        of_path: dict[Path, str] = {"none": "G12", "unexplained": fault}
        return of_path.get(path, "G04")
    if path in PATH_CODES:
        return PATH_CODES[path] if has_mean(subject.kind) else "G02"
    return _code_of_both(m) if path == "both" else fault


def _has_own_scale(m: Measurement) -> bool:
    """Whether y does not change with the scale of x, although the variance is added to."""
    return m.own_scale.change < SCALE_FREE_LIMIT < m.own_scale.added


def _code_of_both(m: Measurement) -> str:
    """Return the code of what is wrong where both paths are in dx."""
    if m.forward_law.mode == "other":
        return "G11"
    rule = m.forward_law.variance_rule
    return "G10" if rule is not None and rule.place == "outside" else "G12"


def _eps_of(m: Measurement) -> str:
    """Say where the forward pass has its eps, and how large it is."""
    rule = m.forward_law.variance_rule
    return f"; the forward pass has {rule}" if rule is not None else ""


def _blended(m: Measurement, path: Path) -> str:
    """Say which share of the batch a gradient does not pass, where the statistics have a share."""
    if not m.forward_law.blend or path not in PATH_CODES:
        return ""
    passed = "none of it" if path == "none" else f"only that of the {path}"
    return f"{m.forward_law.blend}, and the gradient passes {passed}: "


def _shares(m: Measurement) -> str:
    names = ("direct", "mean", "variance")
    known = [(name, getattr(m.path_fit.coefficients, name)) for name in names]
    shares = ", ".join(f"{name} {share:.4f}" for name, share in known if share is not None)
    error = m.comparison.errors.dx
    return f"{shares}, residual {m.path_fit.residual:.1e}, error of dx {error:.1e} ({m.dtype})"
