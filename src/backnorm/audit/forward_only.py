"""The verdict on a forward pass alone, and on what a model file says of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.findings import finding
from backnorm.audit.kinds import has_mean
from backnorm.audit.measure.form import PLAIN
from backnorm.audit.measure.forward_law import ForwardLaw, recover_forward_law
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.record import Record
from backnorm.audit.thresholds import LARGEST_EPS, SMALL_VARIANCE_SHARE, STATED_LIMIT
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backnorm.audit.measure.gradient import Measurement
    from backnorm.audit.record import Finding
    from backnorm.audit.subject import Subject

__all__ = ["judge_forward", "laws_of", "with_file_findings"]

NOT_FINITE: Final = "G24"
"""Code of the error for NaN and infinity."""

BATCH: Final = 5


def laws_of(
    subject: Subject, measurements: Sequence[Measurement], seed: int
) -> tuple[ForwardLaw, ...]:
    """Return the forward law in each dtype: as it was measured with the gradient, or alone."""
    if measurements:
        return tuple(m.forward_law for m in measurements)
    return tuple(_law_in(subject, dtype, seed) for dtype in subject.dtypes)


def _law_in(subject: Subject, dtype: str, seed: int) -> ForwardLaw:
    """Return the law in a dtype; an unknown one where a search of others meets NaN."""
    try:
        return recover_forward_law(subject, np.random.default_rng(seed), dtype)
    except SubjectError as error:
        usual = draw_inputs(subject, np.random.default_rng(seed), dtype, batch=BATCH)
        usual.forward(subject)  # where it fails on usual inputs, its own error says more
        if error.code != NOT_FINITE:
            raise
        return ForwardLaw("other", PLAIN, max(subject.groups, 1), 0.0)


def judge_forward(subject: Subject, laws: Sequence[ForwardLaw]) -> Record:
    """Return the record of a subject without a gradient; its findings are those of a file."""
    first, finest = laws[0], laws[-1]
    law = str(finest if first.mode == finest.mode else first)
    return Record(
        target=subject.name,
        kind=subject.kind,
        mode=first.mode,
        law=law,
        notes=subject.notes,
        expected=subject.expected,
        forward_only=subject.forward_only,
    )


def with_file_findings(subject: Subject, laws: Sequence[ForwardLaw], record: Record) -> Record:
    """Add what is wrong with a law beside what a file says of it; others stay as they are."""
    if not subject.declared and not subject.forward_only:
        return record
    with np.errstate(all="ignore"):
        found = (*_on_law(subject, laws), *_on_eps(subject), *_on_constants(subject))
    return replace(record, findings=(*record.findings, *found))


def _on_law(subject: Subject, laws: Sequence[ForwardLaw]) -> Iterator[Finding]:
    """Yield what is wrong with a law itself."""
    unknown = next((law for law in laws if law.mode == "other"), None)
    if unknown is not None:
        yield finding("L01", str(unknown))
        return
    finest = laws[-1]
    if finest.variance_rule is None:
        yield from _on_frozen(subject)
        return
    rule, eps = finest.variance_rule, subject.declared.get("eps")
    if rule.estimator == "unbiased":
        yield finding("L02", str(rule))
    if eps is not None and abs(rule.eps - eps) > max(rule.blur, STATED_LIMIT * eps):
        yield finding("L03", f"{rule}; the file has an eps of {eps:.3g}")
    if not _survives_constant(subject):
        yield finding("L04", f"NaN or infinity where x is constant; {rule}")


def _on_frozen(subject: Subject) -> Iterator[Finding]:
    """Compare y with what constant statistics make of x."""
    mean, var = (subject.declared.get(name) for name in ("running_mean", "running_var"))
    eps = subject.declared.get("eps")
    if mean is None or var is None or eps is None:
        return
    channels = subject.parameter_shape[0]
    mean, var = mean[:channels], var[:channels]
    if not np.isfinite(mean).all() or not np.isfinite(var).all() or (var < 0).any():
        return  # its own finding says so, and other values took their place
    inputs = draw_inputs(subject, np.random.default_rng(0), subject.dtypes[-1], batch=BATCH)
    shape = inputs.geometry.parameter_view
    wide = inputs.x.astype(np.float64)
    x_hat = (wide - mean.reshape(shape)) / np.sqrt(var + eps).reshape(shape)
    gamma, beta = (1.0 if p is None else p.reshape(shape) for p in (inputs.gamma, inputs.beta))
    right = gamma * x_hat + (beta if inputs.beta is not None else 0.0)
    y = inputs.forward(subject)
    axes = inputs.geometry.reduced
    error = float((np.abs(y - right).max(axes) / np.abs(right).max(axes)).max())
    if error > STATED_LIMIT:
        yield finding("L03", f"an error of y of {error:.1e}, with an eps of {eps:.3g}")


def _survives_constant(subject: Subject) -> bool:
    """Whether y is finite where the values that share statistics are all the same."""
    inputs = draw_inputs(subject, np.random.default_rng(0), subject.dtypes[0], batch=BATCH)
    rows = inputs.geometry.rows(inputs.x)
    rows[0] = 1.0 if has_mean(subject.kind) else 0.0
    x = inputs.geometry.from_rows(rows).astype(inputs.x.dtype)
    try:
        replace(inputs, x=x).forward(subject)
    except SubjectError as error:
        if error.code != NOT_FINITE:
            raise
        return False
    return True


def _on_eps(subject: Subject) -> Iterator[Finding]:
    """Yield that an eps stands out: among those of the file, or among all layers."""
    eps, usual = (subject.declared.get(name) for name in ("eps", "usual_eps"))
    if eps is not None and usual is not None:
        yield finding("L05", f"{eps:.3g}; all others of this kind in the file have {usual:.3g}")
    elif eps is not None and eps > LARGEST_EPS:
        yield finding("L05", f"{eps:.3g}")


def _on_constants(subject: Subject) -> Iterator[Finding]:
    """Yield what is wrong with the running statistics that evaluation uses."""
    mean, var = (subject.declared.get(name) for name in ("running_mean", "running_var"))
    if mean is None or var is None or "state" in subject.runner.can:
        return
    spoilt = {"mean": ~np.isfinite(mean), "variance": ~np.isfinite(var) | (var < 0)}
    found = [f"{int(bad.sum())} of {bad.size} {name}s" for name, bad in spoilt.items() if bad.any()]
    if found:
        yield finding("M10", ", ".join(found))
        return
    if (mean == 0).all() and (var == 1).all():
        yield finding("M11", "means of 0 and variances of 1 in all channels")
    small = var < subject.declared.get("eps", 0.0)
    if small.mean() > SMALL_VARIANCE_SHARE:
        yield finding("M07", f"{int(small.sum())} of {small.size} channels")
