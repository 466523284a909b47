"""The probes of precision: what they measure, and what they make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from audit.pairs import Law
from backnorm.audit import audit
from backnorm.audit.specimens.cut import MeanCut
from backnorm.audit.specimens.digits import AllInHalf, OnePass, OnePassWide, WideInHalf
from backnorm.audit.specimens.harmless import Blend
from backnorm.audit.specimens.plain import Plain
from backnorm.audit.thresholds import MEAN_ALLOWANCE

if TYPE_CHECKING:
    from backnorm.audit.record import Finding, PrecisionPoint, ProbeResult, Record


def probe(record: Record, code: str) -> ProbeResult:
    """Return what one probe came to."""
    return next(one for one in record.probes if one.code == code)


def point(record: Record, sweep: str, value: float, dtype: str = "float32") -> PrecisionPoint:
    """Return one of the points that were measured."""
    return next(
        one
        for one in record.precision
        if (one.sweep, one.value, one.dtype) == (sweep, value, dtype)
    )


def codes(record: Record) -> list[str]:
    """Return the codes of what is looked at here."""
    return [finding.code for finding in looked_at(record)]


def looked_at(record: Record) -> list[Finding]:
    """Return the findings about digits and the gradient; errors that are planted make others."""
    return [finding for finding in record.findings if finding.code[0] in "GN"]


@dataclass(frozen=True)
class Planted(Law):
    """Sums in float64, results that are wrong by known parts of the largest value."""

    y_part: float = 0.0
    dx_part: float = 0.0

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Make y larger by a part of itself, which is a law of its own that gamma hides."""
        y, cache = super().forward(x.astype(float), gamma, beta)
        far = np.abs(x).max() > 50 * x.std((0, 2, 3)).max()
        return (y * (1 + self.y_part * far)).astype(x.dtype), (cache, far)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Shift dx by a part of the largest direct path."""
        (centred, std, bare, g, gamma), far = cache
        dx, dgamma, dbeta = super().backward(dy.astype(float), (centred, std, bare, g, gamma))
        direct = np.abs(g * dy / std).max((0, 2, 3), keepdims=True)
        return (dx + self.dx_part * far * direct).astype(dy.dtype), dgamma, dbeta


def test_errors_are_those_that_were_planted() -> None:
    """Relative to the largest value of the channel: of y, and of the direct path of dx."""
    record = audit(Planted(y_part=2.0**-6, dx_part=2.0**-5))
    assert point(record, "offset", 10.0).y == pytest.approx(0, abs=1e-6)
    for offset in (100.0, 1e6):
        measured = point(record, "offset", offset)
        assert measured.y == pytest.approx(2.0**-6, rel=1e-3)
        assert measured.dx == pytest.approx(2.0**-5, rel=1e-3)
        assert measured.exact_y == pytest.approx(0, abs=1e-7)
    assert codes(record) == ["N01"]
    assert looked_at(record)[0].got == (
        "error of y 2e-02, error of dx 3e-02 at a mean of 100 standard deviations (float32)"
    )
    assert record.sound


def test_a_mean_that_is_rounded_to_the_format_is_no_finding() -> None:
    """Errors that grow with the mean itself are allowed, those that grow with its square not."""
    half, eps = MEAN_ALLOWANCE / 2, 2.0**-23
    assert codes(audit(Planted(y_part=half * 1e2 * eps))) == []
    assert codes(audit(OnePass)) == ["N01", "N03"]
    assert codes(audit(OnePassWide)) == []


@dataclass(frozen=True)
class ByOrder(Law):
    """One pass where the channels come last in memory, two otherwise."""

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Choose by the strides of x."""
        pair = OnePass if x.strides[1] < x.strides[3] else Plain
        return pair.forward(x, gamma, beta)

    backward = staticmethod(Plain.backward)  # type: ignore[assignment]


def test_both_orders_in_memory_are_looked_at() -> None:
    """The worse of the two is what the record shows."""
    record = audit(ByOrder())
    assert codes(record) == ["N01", "N03"]
    lost = point(record, "offset", 1e3).y
    assert lost is None or lost > 1e-3


class Clipped:
    """x is clipped, far outside of what the gradient is looked at with."""

    @staticmethod
    def forward(x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        return Plain.forward(np.clip(x, -1e6, 1e6), gamma, beta)

    backward = staticmethod(Plain.backward)


def test_a_scale_at_which_digits_are_lost_is_named() -> None:
    """The first of those whose squares float32 holds."""
    record = audit(Clipped)
    assert codes(record) == ["N02"]
    assert looked_at(record)[0].got.endswith("at a standard deviation of 1e+08 (float32)")


def test_squares_beyond_the_format_are_no_finding() -> None:
    """At 1e20 plain float32 gives 0: the curve shows it, and so does the probe."""
    record = audit(Plain)
    assert codes(record) == []
    assert point(record, "scale", 1e20).y == pytest.approx(1.0)
    assert probe(record, "P61").result == "pass"
    assert "1e+20" in probe(record, "P61").what


def test_what_is_not_finite_has_no_error() -> None:
    """None beside an exact value means NaN or infinity."""
    record = audit(OnePass)
    lost = point(record, "scale", 1e20)
    assert (lost.y, lost.dx) == (None, None)
    assert lost.exact_y is not None
    assert "NaN or infinite" in record.findings[1].got


def test_the_digits_of_a_wrong_gradient_are_not_counted() -> None:
    """Only y is compared, and there is no exact dx to show."""
    record = audit(MeanCut)
    assert codes(record) == ["G01"]
    assert all(p.dx is None and p.exact_dx is None for p in record.precision)
    assert all(p.y is not None for p in record.precision)


def test_the_first_format_is_the_one_that_is_swept() -> None:
    """float64 has other limits, and its squares never overflow here."""
    record = audit(Law(dtypes=("float64",)))
    assert {p.dtype for p in record.precision} == {"float64"}
    assert point(record, "scale", 1e20, "float64").y == pytest.approx(0, abs=1e-14)
    assert codes(record) == []


def test_without_a_law_nothing_is_compared() -> None:
    """The reason is said."""
    record = audit(Blend)
    assert record.precision == ()
    for code in ("P60", "P61"):
        assert probe(record, code).result == "skipped"
        assert "no law of which the exact result" in probe(record, code).what


def test_half_dtypes_are_looked_at_where_they_are_taken() -> None:
    """float16 overflows at 65504: so do the squares of a usual x, unless they are wider."""
    record = audit(AllInHalf)
    assert codes(record) == ["N04"]
    assert "a standard deviation of 100 (float16)" in looked_at(record)[0].got
    good = audit(WideInHalf)
    assert probe(good, "P62").result == "pass"
    assert point(good, "scale", 100.0, "float16").y == pytest.approx(0, abs=2.0**-10)
    assert probe(audit(Plain), "P62").result == "skipped"
