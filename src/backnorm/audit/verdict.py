"""From numbers to a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings import finding
from backnorm.audit.kinds import has_mean
from backnorm.audit.record import Errors, Record
from backnorm.audit.thresholds import (
    COEFFICIENT_LIMIT,
    GRADIENT_LIMIT,
    REPEAT_LIMIT,
    REST_LIMIT,
    ROUGH_LIMIT,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from backnorm.audit.measure.gradient import Measurement
    from backnorm.audit.record import Finding, Path
    from backnorm.audit.subject import Subject

__all__ = ["judge"]

BY_PATH: Final[Mapping[Path, str]] = {"variance": "G01", "mean": "G02", "none": "G03"}
"""What it means that only this path takes part."""

BY_SUSPECT: Final[Mapping[str, str]] = {
    "no_gamma": "G08",
    "mean_cut_in_square": "G06",
    "square_cut_only": "G06",
    "other_divisor": "G07",
    "variance_not_divided": "G09",
    "mean_not_divided": "G09",
    "eps_elsewhere": "G10",
}
"""What it means that dx is the one this suspect makes."""

FOR_TRAINING: Final = ("batch_gradient", "own_gradient", "renorm_gradient")
"""Suspects that make training's gradient: a fault only where the forward pass is not training's."""

RENORM: Final = "renorm_gradient"


def judge(subject: Subject, measurements: Sequence[Measurement]) -> Record:
    """Judge a subject by what was measured in each of its formats.

    The first format in which it is wrong decides; if there is none, the shares are shown for the
    first format and the errors for the last, the finest.
    """
    wrong = [m for m in measurements if not _is_sound(m)]
    shown = wrong[0] if wrong else measurements[0]
    finest = wrong[0] if wrong else measurements[-1]
    path = _path(shown)
    compared = finest.comparison.errors
    return Record(
        target=subject.name,
        kind=subject.kind,
        mode=shown.law.mode,
        through=path,
        coefficients=shown.fit.coefficients,
        unexplained=shown.fit.unexplained,
        sound=not wrong,
        findings=tuple(_findings(subject, shown, path)) if wrong else (),
        errors=Errors(finest.fit.y_error, compared.dx, compared.dgamma, compared.dbeta),
        law=str(shown.law),
        notes=tuple(_notes(subject, measurements, wrong)),
        expected=subject.expected,
        parts=shown.fit.drawn if shown.law.straight else None,
    )


def _is_sound(m: Measurement) -> bool:
    errors = m.comparison.errors
    return not (_vague(m) or any(_exceeds(m, e) for e in (errors.dx, errors.dgamma, errors.dbeta)))


def _vague(m: Measurement) -> str:
    """Code of what makes a derivative meaningless, or nothing."""
    if m.comparison.unrepeated > REPEAT_LIMIT:
        return "G16"
    return "G15" if m.comparison.skipped > ROUGH_LIMIT else ""


def _exceeds(m: Measurement, error: float | None) -> bool:
    return error is not None and error > GRADIENT_LIMIT[m.comparison.resolution]


def _path(m: Measurement) -> Path:
    """Name the statistics that the gradient goes through; never name a poor fit."""
    shares = m.fit.coefficients
    poor = not m.law.straight or m.fit.unexplained > REST_LIMIT
    if poor or not _near(shares.direct, 1.0) or shares.variance is None:
        return "unexplained"
    takes_part = [s for s in (shares.mean, shares.variance) if s is not None and not _near(s, 0.0)]
    # Only a blend of statistics may let a part of a path through.
    if m.law.mode != "other" and not all(_near(s, 1.0) for s in takes_part):
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
        rough = f"kinks at {m.comparison.skipped:.0%} of the elements"
        yield finding(_vague(m), differ if _vague(m) == "G16" else rough)
        return
    if _exceeds(m, errors.dx):
        yield finding(_dx_code(subject, m, path), _shares(m))
    if _exceeds(m, errors.dgamma):
        yield finding("G13", f"an error of {errors.dgamma:.1e} of the largest dgamma")
    if _exceeds(m, errors.dbeta):
        yield finding("G14", f"an error of {errors.dbeta:.1e} of the largest dbeta")


def _dx_code(subject: Subject, m: Measurement, path: Path) -> str:
    """Name what is wrong with dx: by its shares, else by the fault that makes the same dx."""
    suspect = _suspect(m, BY_SUSPECT)
    if m.law.mode != "batch" and _suspect(m, FOR_TRAINING):
        return "G04" if m.law.mode == "frozen" else "G11"
    if m.law.mode == "frozen" and path != "unexplained":
        return "G12" if path == "none" else "G04"
    if m.law.mode == "frozen":
        return BY_SUSPECT.get(suspect, "G05")
    if path in BY_PATH:
        return BY_PATH[path] if has_mean(subject.kind) else "G02"
    if path == "both":
        return _code_of_both(m)
    return BY_SUSPECT.get(suspect, "G05")


def _code_of_both(m: Measurement) -> str:
    """Name what is wrong where both paths take part."""
    if m.law.mode == "other":
        return "G11"
    outside = m.law.root is not None and m.law.root.place == "outside"
    return "G10" if outside else "G12"


def _suspect(m: Measurement, names: Iterable[str]) -> str:
    """Name of the known fault that explains dx, or nothing."""
    fitting = [name for name in names if m.fit.suspects[name] < REST_LIMIT]
    return min(fitting, key=lambda name: m.fit.suspects[name], default="")


def _shares(m: Measurement) -> str:
    names = ("direct", "mean", "variance")
    known = [(name, getattr(m.fit.coefficients, name)) for name in names]
    shares = ", ".join(f"{name} {share:.4f}" for name, share in known if share is not None)
    error = m.comparison.errors.dx
    return f"{shares}, residual {m.fit.unexplained:.1e}, error of dx {error:.1e} ({m.dtype})"


def _notes(
    subject: Subject, measurements: Sequence[Measurement], wrong: Sequence[Measurement]
) -> Iterator[str]:
    yield from _notes_on_law(subject, measurements[0])
    if 0 < len(wrong) < len(measurements):
        yield f"Found in {', '.join(m.dtype for m in wrong)} only."
    if wrong and wrong[0].law.mode != "batch" and _suspect(wrong[0], FOR_TRAINING) == RENORM:
        yield (
            "dx treats the factor and the shift to the running statistics as constants, as batch"
            " renormalization does by design: dx is intentionally not the derivative of y."
        )
    if not any(map(_vague, measurements)):
        yield from _notes_on_numbers(measurements)


def _notes_on_law(subject: Subject, m: Measurement) -> Iterator[str]:
    if not has_mean(subject.kind):
        yield "This kind of normalization has no mean: the variance is its only statistic."
    if m.law.mode == "frozen" and subject.call == "train":
        yield "In training mode it normalizes with constants."
    if m.law.mode == "batch" and subject.call == "eval":
        yield "In evaluation mode it normalizes with the batch's statistics."
    if m.law.mode == "other":
        yield "It normalizes with neither the batch's statistics nor constants."
    if m.law.gamma_law != "gamma":
        yield f"It multiplies by {m.law.gamma_law}."


def _notes_on_numbers(measurements: Sequence[Measurement]) -> Iterator[str]:
    paths = {m.dtype: _path(m) for m in measurements}
    if len(set(paths.values())) > 1:
        yield (
            "The gradient goes through: "
            + ", ".join(f"{p} in {dtype}" for dtype, p in paths.items())
            + "."
        )
    if measurements[-1].dtype == "float64" and measurements[-1].comparison.resolution == "coarse":
        yield "It accepts float64 and computes in a narrower dtype."
    # In float32 rounding alone may look like a kink: the last format is the finest.
    skipped = measurements[-1].comparison.skipped
    if skipped:
        yield f"{skipped:.0%} of the elements were left out, since y has a kink there."
