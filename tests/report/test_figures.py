"""The curves of precision: a cross where something is lost, and none where nothing is compared."""

from __future__ import annotations

from backnorm.audit.record import PrecisionPoint
from backnorm.report._figures import precision_figure

LOST = PrecisionPoint("scale", 1e20, "float32", None, None, 1e-8, 2e-8)
UNCOMPARED = PrecisionPoint("scale", 1.0, "float32", 1e-7, None, 1e-8, None)


def drawn(*points: PrecisionPoint) -> tuple[int, int, int, str]:
    """Count crosses (of two lines), dots and curves; and what is said of the figure."""
    figure = precision_figure(points, "key")
    styles = [one.get("class", "").split() for one in figure.iter()]
    counts = [sum(name in style for style in styles) for name in ("cross", "dot")]
    curves = sum(one.tag == "polyline" for one in figure.iter())
    said = next(one.text or "" for one in figure.iter() if one.tag == "desc")
    return counts[0] // 2, counts[1], curves, said.partition(". ")[0]


def test_what_is_not_finite_is_a_cross() -> None:
    """For y and for dx; the exact curves go on."""
    assert drawn(LOST) == (2, 0, 2, "1 points; NaN or infinity at 1 of them")


def test_what_is_not_compared_is_no_cross() -> None:
    """A dx that is wrong anyway has neither a curve nor an exact one."""
    assert drawn(UNCOMPARED) == (0, 1, 2, "1 points; NaN or infinity at 0 of them")
