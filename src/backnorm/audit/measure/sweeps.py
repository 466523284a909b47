"""Rounding errors over large means, and over small and large scales."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from backnorm.audit.measure.dtypes import Format, format_of
from backnorm.audit.measure.inputs import Draw
from backnorm.audit.record import PrecisionPoint
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.kinds import Geometry
    from backnorm.audit.measure.exact import ExactLaw
    from backnorm.audit.record import Sweep
    from backnorm.audit.subject import Subject

__all__ = ["Series", "series", "worse"]

NOT_FINITE: Final = "G24"
"""Code of the error which says so."""

Rows: TypeAlias = "np.ndarray[Any, np.dtype[np.longdouble]]"


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Inputs that differ in nothing but their mean and their scale.

    Attributes
    ----------
    subject
        The black box, run in the format.
    law
        What it computes, exactly.
    format
        What all inputs are rounded to.
    geometry
        How x falls apart into rows.
    z, dy
        x at mean 0 and scale 1, and the incoming gradient; shapes (R, n).
    signs
        Of the means; shape (R, 1).
    gamma
        None where the subject has none. beta is 0 everywhere: beside a tiny y, 1 would hide it.
    judged
        Whether its dx is compared: not where it is wrong anyway.
    """

    subject: Subject
    law: ExactLaw
    format: Format
    geometry: Geometry
    z: Float64Array
    dy: Float64Array
    signs: Float64Array
    gamma: AnyArray | None
    judged: bool

    def point(self, sweep: Sweep, value: float, *, channels_last: bool = False) -> PrecisionPoint:
        """Measure one input.

        Parameters
        ----------
        sweep
            Which of the two `value` is: the other one is usual.
        value
            The mean in standard deviations, or the standard deviation.
        channels_last
            Whether x and dy lie in memory with the channels last.
        """
        offset, scale = (value, 1.0) if sweep == "offset" else (1.0, value)
        one = self._draw((self.signs * offset + self.z) * scale)
        exact = self.law.results(one)
        y, dx = _seen(self.subject, _channels_last(one) if channels_last else one)
        sizes = {name: _size(getattr(exact, name)) for name in ("y", "direct")}
        return PrecisionPoint(
            sweep,
            value,
            self.format.name,
            y=self._error(y, exact.y, sizes["y"]),
            dx=self._error(dx, exact.dx, sizes["direct"]) if self.judged else None,
            exact_y=self._rounding(exact.y, sizes["y"]),
            exact_dx=self._rounding(exact.dx, sizes["direct"]) if self.judged else None,
        )

    def _draw(self, x: Float64Array) -> Draw:
        beta = np.zeros(self.subject.parameter_shape) if self.subject.has_beta else None
        x, dy = (self._carried(self.geometry.from_rows(rows)) for rows in (x, self.dy))
        gamma, beta = (None if p is None else self._carried(p) for p in (self.gamma, beta))
        return Draw(self.geometry, 1.0, x, dy, gamma, beta)

    def _carried(self, values: AnyArray) -> AnyArray:
        """Round; the halves travel as float32."""
        rounded = self.format.rounded(values)
        return rounded.astype(np.float32) if rounded.dtype == np.float16 else rounded

    def _error(self, got: AnyArray | None, want: Rows, size: Rows) -> float | None:
        if got is None:
            return None
        return float(np.max(np.abs(self.geometry.rows(got) - want) / size))

    def _rounding(self, want: Rows, size: Rows) -> float | None:
        rounded = self.format.rounded(want)
        if not np.isfinite(rounded).all():
            return None
        return float(np.max(np.abs(np.asarray(rounded, np.longdouble) - want) / size))


def series(
    subject: Subject,
    law: ExactLaw,
    rng: np.random.Generator,
    dtype: str,
    *,
    batch: int,
    judged: bool,
) -> Series:
    """Draw what all inputs of a sweep have in common.

    Parameters
    ----------
    subject, law, judged
        As in `Series`.
    rng
        Where the draw comes from.
    dtype
        Name of the format.
    batch
        Number of samples.

    Returns
    -------
    Series
        From which points are measured.
    """
    geometry = subject.geometry(batch, law.groups)
    z = geometry.rows(rng.standard_normal(geometry.shape))
    shape = subject.parameter_shape
    gamma = rng.uniform(0.5, 2.0, shape) * rng.choice([-1.0, 1.0], shape)
    return Series(
        subject=subject,
        law=law,
        format=format_of(dtype),
        geometry=geometry,
        z=z,
        dy=rng.standard_normal(z.shape) + 0.5 + 0.5 * z,
        signs=rng.choice([-1.0, 1.0], (len(z), 1)),
        gamma=gamma if subject.has_gamma else None,
        judged=judged,
    )


def worse(a: PrecisionPoint, b: PrecisionPoint) -> PrecisionPoint:
    """Return the one with the larger errors; nothing is worse than what is not finite."""

    def largest(point: PrecisionPoint) -> float:
        pairs = ((point.y, point.exact_y), (point.dx, point.exact_dx))
        known = [np.inf if e is None else e for e, exact in pairs if exact is not None]
        return max(known, default=0.0)

    return b if largest(b) > largest(a) else a


def _seen(subject: Subject, one: Draw) -> tuple[AnyArray | None, AnyArray | None]:
    """Return y and dx of a subject, each None where it is not finite."""
    with np.errstate(all="ignore"):
        try:
            run = one.run(subject)
        except SubjectError as error:
            if error.code != NOT_FINITE:
                raise
        else:
            return run.y, run.dx
        try:
            return one.forward(subject), None
        except SubjectError as error:
            if error.code != NOT_FINITE:
                raise
            return None, None


def _size(rows: Rows) -> Rows:
    """Largest value of each row."""
    largest: Rows = np.abs(rows).max(axis=1, keepdims=True)
    return np.asarray(np.maximum(largest, np.finfo(np.longdouble).tiny), np.longdouble)


def _channels_last(one: Draw) -> Draw:
    x, dy = (
        np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) for a in (one.x, one.dy)
    )
    return replace(one, x=x, dy=dy)
