"""The verdict on the gradient: from what was measured to a record with findings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings import finding
from backnorm.audit.kinds import has_mean
from backnorm.audit.record import Errors, Record
from backnorm.audit.thresholds import (
    COEFFICIENT_LIMIT,
    GRADIENT_LIMIT,
    REPEAT_LIMIT,
    RESIDUAL_LIMIT,
    ROUGH_LIMIT,
    SCALE_FREE_LIMIT,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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

FOR_TRAINING: Final = ("batch_gradient", "own_gradient", "renorm_gradient")
"""Known faults that make training's gradient: faults only where the forward pass does not train."""

RENORM: Final = "renorm_gradient"

NOT_JUDGED: Final[Mapping[str, str]] = {
    "G15": "y has kinks or coarse rounding, so that the derivative cannot be measured",
    "G16": "y differs from call to call, so that the derivative cannot be measured",
}
"""Why a gradient was not judged, by the finding."""


def judge(subject: Subject, measurements: Sequence[Measurement]) -> Record:
    """Judge a subject by what was measured in each of its dtypes.

    The first dtype in which the gradient is wrong decides. If the gradient is right in every dtype,
    the shares are those of the first dtype, and the errors those of the last, the finest.
    """
    wrong = [m for m in measurements if _verdict(m) is False]
    vague = [m for m in measurements if _verdict(m) is None]
    shown = (wrong or vague or measurements)[0]
    finest = shown if wrong or vague else measurements[-1]
    path = _path(shown)
    compared = finest.comparison.errors
    return Record(
        target=subject.name,
        kind=subject.kind,
        mode=shown.forward_law.mode,
        through=path,
        coefficients=shown.path_fit.coefficients,
        unexplained=shown.path_fit.residual,
        sound=_verdict(shown),
        not_judged=NOT_JUDGED[_vague(shown)] if vague and not wrong else "",
        findings=tuple(_findings(subject, shown, path)) if wrong or vague else (),
        errors=Errors(finest.path_fit.y_error, compared.dx, compared.dgamma, compared.dbeta),
        law=_law(shown, finest),
        notes=(*subject.notes, *_notes(subject, measurements, wrong)),
        expected=subject.expected,
        parts=shown.path_fit.channel if shown.forward_law.straight else None,
    )


def _law(shown: Measurement, finest: Measurement) -> str:
    """Return the law in words: by the finest dtype, which shows more digits of eps."""
    same = shown.forward_law.mode == finest.forward_law.mode
    return str((finest if same else shown).forward_law)


def _verdict(m: Measurement) -> bool | None:
    """Tell whether the gradient is right; None where y has no derivative to compare it with."""
    if _vague(m):
        return None
    errors = m.comparison.errors
    return not any(_exceeds(m, e) for e in (errors.dx, errors.dgamma, errors.dbeta))


def _vague(m: Measurement) -> str:
    """Return the code of what makes a derivative meaningless, or an empty string."""
    if m.comparison.unrepeated > REPEAT_LIMIT:
        return "G16"
    return "G15" if max(m.comparison.skipped, m.comparison.stepped) > ROUGH_LIMIT else ""


def _exceeds(m: Measurement, error: float | None) -> bool:
    return error is not None and error > GRADIENT_LIMIT[m.comparison.resolution]


def _path(m: Measurement) -> Path:
    """Name the statistics that the gradient goes through; a poor fit gets no name."""
    shares = m.path_fit.coefficients
    poor = not m.forward_law.straight or m.path_fit.residual > RESIDUAL_LIMIT
    if poor or not _near(shares.direct, 1.0) or shares.variance is None:
        return "unexplained"
    takes_part = [s for s in (shares.mean, shares.variance) if s is not None and not _near(s, 0.0)]
    # Only a blend of statistics may let a part of a path through.
    if m.forward_law.mode != "other" and not all(_near(s, 1.0) for s in takes_part):
        return "unexplained"
    through_variance = not _near(shares.variance, 0.0)
    if shares.mean is None:
        return "both" if through_variance else "none"
    names: dict[tuple[bool, bool], Path] = {
        (True, True): "both",
        (True, False): "mean",
        (False, True): "variance",
        (False, False): "none",
    }
    return names[not _near(shares.mean, 0.0), through_variance]


def _near(share: float | None, value: float) -> bool:
    return share is not None and abs(share - value) < COEFFICIENT_LIMIT


def _findings(subject: Subject, m: Measurement, path: Path) -> Iterator[Finding]:
    errors = m.comparison.errors
    if _vague(m):
        differ = f"a difference of {m.comparison.unrepeated:.1e} of the largest y"
        hidden = m.comparison.skipped - m.comparison.kinked
        rough = f"kinks at {m.comparison.kinked:.0%} of the elements"
        rough += f", rounding that hides the derivative at {hidden:.0%}" if hidden > 0 else ""
        steps = m.comparison.stepped
        rough += f", y in steps at {steps:.0%} of its elements" if steps > ROUGH_LIMIT else ""
        yield finding(_vague(m), differ if _vague(m) == "G16" else rough)
        return
    if _exceeds(m, errors.dx):
        yield finding(_dx_code(subject, m, path), _shares(m))
    if _exceeds(m, errors.dgamma):
        yield finding("G13", f"an error of {errors.dgamma:.1e} of the largest dgamma")
    if _exceeds(m, errors.dbeta):
        yield finding("G14", f"an error of {errors.dbeta:.1e} of the largest dbeta")


def _dx_code(subject: Subject, m: Measurement, path: Path) -> str:
    """Return the code of what is wrong with dx: by its shares, else by a known fault."""
    fault = FAULT_CODES.get(_known_fault(m, FAULT_CODES), "G05")
    if path == "both" and _has_own_scale(m):
        return "G17"
    if m.forward_law.mode != "batch" and _known_fault(m, FOR_TRAINING):
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


def _known_fault(m: Measurement, names: Iterable[str]) -> str:
    """Return the name of the known fault that explains dx, or an empty string."""
    fitting = [name for name in names if m.path_fit.known_faults[name] < RESIDUAL_LIMIT]
    return min(fitting, key=lambda name: m.path_fit.known_faults[name], default="")


def _shares(m: Measurement) -> str:
    names = ("direct", "mean", "variance")
    known = [(name, getattr(m.path_fit.coefficients, name)) for name in names]
    shares = ", ".join(f"{name} {share:.4f}" for name, share in known if share is not None)
    error = m.comparison.errors.dx
    return f"{shares}, residual {m.path_fit.residual:.1e}, error of dx {error:.1e} ({m.dtype})"


def _notes(
    subject: Subject, measurements: Sequence[Measurement], wrong: Sequence[Measurement]
) -> Iterator[str]:
    if subject.version:
        yield f"Its version is {subject.version}."
    yield from _notes_on_law(subject, measurements[0])
    if 0 < len(wrong) < len(measurements):
        yield f"Found in {', '.join(m.dtype for m in wrong)} only."
    first = wrong[0] if wrong else None
    if first and first.forward_law.mode != "batch" and _known_fault(first, FOR_TRAINING) == RENORM:
        yield (
            "dx treats the factor and the shift to the running statistics as constants, as batch"
            " renormalization does by design: dx is intentionally not the derivative of y."
        )
    if not any(map(_vague, measurements)):
        yield from _notes_on_numbers(measurements)


def _notes_on_law(subject: Subject, m: Measurement) -> Iterator[str]:
    if not has_mean(subject.kind):
        yield "This kind of normalization has no mean: the variance is its only statistic."
    if m.forward_law.mode == "frozen" and subject.call == "train":
        yield "In training mode it normalizes with constants."
    evaluates = subject.call in ("eval", "both") and subject.kind == "batch"
    if m.forward_law.mode == "batch" and evaluates:
        yield "In evaluation mode it normalizes with the batch's statistics."
    if m.forward_law.mode == "other":
        yield "It normalizes with neither the batch's statistics nor constants."
    form = m.forward_law.form
    if form.gamma_law != "gamma":
        yield f"It multiplies by {form.gamma_law}."
    if form.activation is not None:
        yield f"It was judged through its activation, {form.activation.name}."
    if form.constants is not None:
        yield "It multiplies by constants beside gamma, or adds some beside beta."


def _notes_on_numbers(measurements: Sequence[Measurement]) -> Iterator[str]:
    paths = {m.dtype: _path(m) for m in measurements}
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
