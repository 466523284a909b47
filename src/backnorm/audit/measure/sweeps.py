"""Rounding errors over large means of x, and over small and large scales."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.measure.dtypes import DtypeInfo, dtype_info
from backnorm.audit.measure.inputs import Inputs
from backnorm.audit.record import PrecisionPoint
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.kinds import Geometry
    from backnorm.audit.measure.exact import ExactLaw, WideRows
    from backnorm.audit.record import Sweep
    from backnorm.audit.subject import Subject

__all__ = ["Series", "series", "worse"]

NOT_FINITE: Final = "G24"
"""Code of the error for NaN and infinity."""


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Inputs that differ only in their mean and their scale.

    Attributes
    ----------
    subject
        The black box, run in the dtype.
    law
        What it computes, exactly.
    dtype
        What all inputs are rounded to.
    geometry
        How x is split into rows.
    z, dy
        x at mean 0 and scale 1, and the incoming gradient; shapes (R, n).
    signs
        Of the means; shape (R, 1).
    gamma
        None where the subject has no gamma. beta is 0 everywhere: a beta of 1 would hide a tiny y.
    judged
        Whether dx is compared: it is not where the gradient is wrong anyway.
    """

    subject: Subject
    law: ExactLaw
    dtype: DtypeInfo
    geometry: Geometry
    z: Float64Array
    dy: Float64Array
    signs: Float64Array
    gamma: AnyArray | None
    judged: bool

    def point(self, sweep: Sweep, value: float, *, channels_last: bool = False) -> PrecisionPoint:
        """Measure the errors at one mean or scale.

        Parameters
        ----------
        sweep
            Which of the two `value` is; the other has its usual value.
        value
            The mean in standard deviations, or the standard deviation.
        channels_last
            Whether x and dy have the channels last in memory.
        """
        offset, scale = (value, 1.0) if sweep == "offset" else (1.0, value)
        inputs = self._draw((self.signs * offset + self.z) * scale)
        exact = self.law.results(inputs)
        y, dx = _outputs(self.subject, _channels_last(inputs) if channels_last else inputs)
        sizes = {name: _size(getattr(exact, name)) for name in ("y", "direct")}
        return PrecisionPoint(
            sweep,
            value,
            self.dtype.name,
            y=self._error(y, exact.y, sizes["y"]),
            dx=self._error(dx, exact.dx, sizes["direct"]) if self.judged else None,
            exact_y=self._rounding(exact.y, sizes["y"]),
            exact_dx=self._rounding(exact.dx, sizes["direct"]) if self.judged else None,
        )

    def _draw(self, x: Float64Array) -> Inputs:
        beta = np.zeros(self.subject.parameter_shape) if self.subject.has_beta else None
        x, dy = (self._carried(self.geometry.from_rows(rows)) for rows in (x, self.dy))
        gamma, beta = (None if p is None else self._carried(p) for p in (self.gamma, beta))
        return Inputs(self.geometry, 1.0, x, dy, gamma, beta)

    def _carried(self, values: AnyArray) -> AnyArray:
        """Round; float16 and bfloat16 travel as float32."""
        rounded = self.dtype.rounded(values)
        return rounded.astype(np.float32) if rounded.dtype == np.float16 else rounded

    def _error(self, value: AnyArray | None, exact: WideRows, size: WideRows) -> float | None:
        if value is None:
            return None
        return float(np.max(np.abs(self.geometry.rows(value) - exact) / size))

    def _rounding(self, exact: WideRows, size: WideRows) -> float | None:
        rounded = self.dtype.rounded(exact)
        if not np.isfinite(rounded).all():
            return None
        return float(np.max(np.abs(np.asarray(rounded, np.longdouble) - exact) / size))


def series(
    subject: Subject,
    law: ExactLaw,
    rng: np.random.Generator,
    dtype: str,
    *,
    batch: int,
    judged: bool,
) -> Series:
    """Draw what all inputs of a sweep share.

    Parameters
    ----------
    subject, law, judged
        As in `Series`.
    rng
        Source of the random inputs.
    dtype
        Name of the dtype.
    batch
        Number of samples.

    Returns
    -------
    Series
        The inputs; `Series.point` measures one of them.
    """
    geometry = subject.geometry(batch, law.groups)
    z = geometry.rows(rng.standard_normal(geometry.shape))
    shape = subject.parameter_shape
    gamma = rng.uniform(0.5, 2.0, shape) * rng.choice([-1.0, 1.0], shape)
    return Series(
        subject=subject,
        law=law,
        dtype=dtype_info(dtype),
        geometry=geometry,
        z=z,
        dy=rng.standard_normal(z.shape) + 0.5 + 0.5 * z,
        signs=rng.choice([-1.0, 1.0], (len(z), 1)),
        gamma=gamma if subject.has_gamma else None,
        judged=judged,
    )


def worse(a: PrecisionPoint, b: PrecisionPoint) -> PrecisionPoint:
    """Return the point with the larger errors; NaN and infinity are worse than any error."""

    def largest(point: PrecisionPoint) -> float:
        pairs = ((point.y, point.exact_y), (point.dx, point.exact_dx))
        known = [np.inf if e is None else e for e, exact in pairs if exact is not None]
        return max(known, default=0.0)

    return b if largest(b) > largest(a) else a


def _outputs(subject: Subject, inputs: Inputs) -> tuple[AnyArray | None, AnyArray | None]:
    """Return y and dx of a subject, each None where it is not finite."""
    with np.errstate(all="ignore"):
        try:
            if subject.forward_only:
                return inputs.forward(subject), None
            run = inputs.run(subject)
        except SubjectError as error:
            if error.code != NOT_FINITE:
                raise
        else:
            return run.y, run.dx
        try:
            return inputs.forward(subject), None
        except SubjectError as error:
            if error.code != NOT_FINITE:
                raise
            return None, None


def _size(rows: WideRows) -> WideRows:
    """Return the largest value of each row."""
    largest: WideRows = np.abs(rows).max(axis=1, keepdims=True)
    return np.asarray(np.maximum(largest, np.finfo(np.longdouble).tiny), np.longdouble)


def _channels_last(inputs: Inputs) -> Inputs:
    x, dy = (
        np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)
        for a in (inputs.x, inputs.dy)
    )
    return replace(inputs, x=x, dy=dy)
