"""Drawings of a record as SVG: the coefficients, the parts of a gradient, and the precision."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from backnorm.report._elements import element

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from xml.etree import ElementTree as ET

    from backnorm.audit.record import ChannelParts, Coefficients, PrecisionPoint
    from backnorm.report._elements import Shared

__all__ = ["coefficient_bar", "coefficients_figure", "precision_figure", "split_figure"]

WIDTH: Final = 360
"""Width of a figure in its units: the width of a phone, so that letters keep their size there."""

LABELS: Final[Mapping[str, str]] = {
    "direct": "direct",
    "mean": "through the mean",
    "variance": "through the variance",
}

LOW, HIGH = -0.5, 1.5
"""Limits of a bar. A coefficient beyond them has a bar to the edge, and its number beside it."""


def coefficient_bar(name: str, share: float | None, shared: Shared) -> ET.Element:
    """Draw a coefficient for a cell of a table; its number is the text of the cell."""
    attributes = {"class": "bar", "viewBox": "0 0 100 8", "aria-hidden": "true"}
    return element("svg", attributes, shared.use(*_bar(name, share, 0, 0, 100, 8)))


def coefficients_figure(shares: Coefficients, shared: Shared) -> ET.Element:
    """Draw a bar for each coefficient."""
    marks: list[ET.Element] = []
    for row, (name, label) in enumerate(LABELS.items()):
        share: float | None = getattr(shares, name)
        top = 6 + 26 * row
        value = _text(WIDTH, top + 12, number(share), {"text-anchor": "end"})
        words = _text(0, top + 12, label)
        marks.append(shared.use(words, *_bar(name, share, 130, top, 170, 16), value))
    ticks = (
        _text(_along(tick, 130, 170), 98, str(tick), {"class": "muted", "text-anchor": "middle"})
        for tick in (0, 1)
    )
    marks.append(shared.use(*ticks))
    numbers = ", ".join(f"{label} {number(getattr(shares, n))}" for n, label in LABELS.items())
    caption = "How much of each path is in dx: 1 all of it, 0 nothing"
    return _figure(shared.figure(), caption, f"Bars: {numbers}", 102, marks)


def number(share: float | None) -> str:
    """Write a coefficient with three decimals, or a dash for a missing coefficient."""
    return "-" if share is None else f"{share + 0.0:.3f}".replace("-0.000", "0.000")


def split_figure(parts: ChannelParts, shared: Shared) -> ET.Element:
    """Draw the gradient of one channel: its three parts, their sum, and the measured dx."""
    order = sorted(range(len(parts.x)), key=lambda i: parts.x[i])
    rows: dict[str, list[float]] = {
        name: [getattr(parts, name)[i] for i in order] for name in LABELS
    }
    whole = [sum(values) for values in zip(*rows.values(), strict=True)]
    dx = [parts.dx[i] for i in order]
    largest = max((abs(v) for row in (*rows.values(), whole, dx) for v in row), default=0.0) or 1.0
    marks: list[ET.Element] = []
    for at, (name, row) in enumerate(rows.items()):
        label = _text(0, 70 * at + 12, LABELS[name])
        marks.append(shared.use(label, *_bars(name, row, 70 * at, largest)))
    label = _text(0, 222, "sum of the three parts (bars), measured dx (dots)")
    along = _text(WIDTH, 296, "larger x →", {"class": "muted", "text-anchor": "end"})
    marks.append(shared.use(label, *_bars("whole", whole, 210, largest), along))
    marks.append(shared.use(*_dots(dx, whole, 210, largest)))
    apart = sum(_apart(a, b, largest) for a, b in zip(dx, whole, strict=True))
    description = (
        f"{len(order)} values, in the order of x. "
        f"The measured dx differs from the sum of the three parts at {apart} of them."
    )
    caption = "The gradient of one channel, split into its three parts"
    return _figure(shared.figure(), caption, description, 300, marks)


def precision_figure(points: Sequence[PrecisionPoint], shared: Shared) -> ET.Element:
    """Draw the errors over a sweep in one dtype: the subject's, and those of the exact law."""
    ordered = sorted(points, key=lambda point: point.value)
    marks = [shared.use(*_precision_axes(ordered), *_legend())]
    for name in ("y", "dx"):
        exact = [getattr(point, f"exact_{name}") for point in ordered]
        marks.append(shared.use(*_curve(f"{name} exact", exact)))
    for name in ("y", "dx"):
        errors = [getattr(point, name) for point in ordered]
        marks.append(shared.use(*_curve(name, errors), *_marks(name, ordered)))
    lost = sum(map(_is_lost, ordered))
    sweep, dtype = ordered[0].sweep, ordered[0].dtype
    what = "mean of x in standard deviations" if sweep == "offset" else "size of x"
    caption = f"Error in {dtype} over the {what}"
    said = ", ".join(_series(ordered, name) for name in ("y", "dx"))
    description = f"{len(ordered)} points; NaN or infinity at {lost} of them. Errors of {said}."
    return _figure(shared.figure(), caption, description, 236, marks)


def _figure(
    key: str, caption: str, description: str, height: int, marks: Sequence[ET.Element]
) -> ET.Element:
    names = {"role": "img", "aria-labelledby": f"{key} {key}d"}
    return element(
        "figure",
        {},
        element("figcaption", {"id": key}, caption),
        element(
            "svg",
            {"viewBox": f"0 0 {WIDTH} {height}", **names},
            element("desc", {"id": f"{key}d"}, description),
            *marks,
        ),
    )


def _text(
    x: float, y: float, words: str, attributes: Mapping[str, str] | None = None
) -> ET.Element:
    return element("text", {"x": f"{x:g}", "y": f"{y:g}", **(attributes or {})}, words)


def _rect(x: float, y: float, width: float, height: float, style: str) -> ET.Element:
    places = {"x": x, "y": y, "width": max(width, 0.5), "height": max(height, 0.5)}
    return element("rect", {**{k: _short(v) for k, v in places.items()}, "class": style})


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> ET.Element:
    places = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return element("line", {**{k: _short(v) for k, v in places.items()}, "class": style})


def _path(steps: Iterable[str], style: str) -> ET.Element:
    """Draw many strokes at once: an element for each would take ten times the bytes."""
    return element("path", {"d": "".join(steps), "class": style})


def _short(value: float) -> str:
    """Write a place with a tenth of a unit, which no screen shows."""
    return f"{value:.1f}".removesuffix(".0")


def _series(points: Sequence[PrecisionPoint], name: str) -> str:
    """Say the errors at all points, for who does not see the curve."""
    values = [getattr(point, name) for point in points]
    said = " ".join("-" if value is None else f"{value:.0e}" for value in values)
    return f"{name} {said}"


def _along(share: float, left: float, width: float) -> float:
    return left + width * (min(max(share, LOW), HIGH) - LOW) / (HIGH - LOW)


def _bar(  # noqa: PLR0917 - a rectangle, as everywhere
    name: str,
    share: float | None,
    left: float,
    top: float,
    width: float,
    height: float,
) -> Iterator[ET.Element]:
    zero, one = _along(0.0, left, width), _along(1.0, left, width)
    yield _rect(left, top, width, height, "track")
    if share is not None:
        end = _along(share, left, width)
        yield _rect(min(zero, end), top, abs(end - zero), height, f"fill-{name}")
    for tick in (zero, one):
        yield _line(tick, top, tick, top + height, "axis")


def _bars(name: str, row: Sequence[float], top: float, largest: float) -> Iterator[ET.Element]:
    """Draw bars around a zero line; each panel has the same scale."""
    middle, step = top + 42, WIDTH / max(len(row), 1)
    yield _line(0, middle, WIDTH, middle, "axis")
    steps = (
        f"M{_short((at + 0.5) * step)} {middle:g}v{_short(-25 * value / largest)}"
        for at, value in enumerate(row)
    )
    bars = _path(steps, f"bars line-{name}")
    bars.set("stroke-width", _short(step * 0.7))
    yield bars


def _dots(
    dx: Sequence[float], whole: Sequence[float], top: float, largest: float
) -> Iterator[ET.Element]:
    middle, step = top + 42, WIDTH / max(len(dx), 1)
    for style in ("got", "bad"):
        steps = [
            f"M{_short((at + 0.5) * step)} {_short(middle - 25 * value / largest)}h0"
            for at, (value, want) in enumerate(zip(dx, whole, strict=True))
            if _apart(value, want, largest) is (style == "bad")
        ]
        if steps:
            yield _path(steps, f"dots line-{style}")


def _apart(value: float, want: float, largest: float) -> bool:
    """Whether a dot is visibly off the end of its bar."""
    return abs(value - want) > largest / 50


LEFT, RIGHT, TOP, BOTTOM = 40, WIDTH - 8, 18, 178
FLOOR, CEILING = -17.0, 1.0
"""Decades of the error that are drawn: from the precision of float64 to a result of pure error."""


def _height(error: float) -> float:
    decade = min(max(math.log10(error) if error > 0 else FLOOR, FLOOR), CEILING)
    return BOTTOM - (BOTTOM - TOP) * (decade - FLOOR) / (CEILING - FLOOR)


def _across(at: int, count: int) -> float:
    return LEFT + (RIGHT - LEFT) * (at + 0.5) / count


def _precision_axes(points: Sequence[PrecisionPoint]) -> Iterator[ET.Element]:
    for decade in (-16, -12, -8, -4, 0):
        at = _height(10.0**decade)
        yield _line(LEFT, at, RIGHT, at, "grid")
        yield _text(LEFT - 4, at + 4, f"1e{decade}", {"class": "muted", "text-anchor": "end"})
    yield _text(LEFT - 4, TOP - 6, "NaN", {"class": "muted", "text-anchor": "end"})
    every = -(-len(points) // 7)
    for at, point in enumerate(points[::every]):
        place = _across(at * every, len(points))
        label = f"{point.value:.0e}".replace("e+0", "e").replace("e-0", "e-").replace("0e0", "0")
        yield _text(place, BOTTOM + 14, label, {"class": "muted", "text-anchor": "middle"})


def _is_lost(point: PrecisionPoint) -> bool:
    """Whether y or dx is not finite where the exact law is."""
    pairs = ((point.y, point.exact_y), (point.dx, point.exact_dx))
    return any(error is None and exact is not None for error, exact in pairs)


def _curve(style: str, errors: Sequence[float | None]) -> Iterator[ET.Element]:
    """Draw a line through the errors, with a gap where an error is missing."""
    known: list[list[str]] = [[]]
    for at, error in enumerate(errors):
        if error is None:
            known.append([])
        else:
            known[-1].append(f"{_across(at, len(errors)):.0f},{_height(error):.0f}")
    for run in known:
        if run:
            yield element("polyline", {"points": " ".join(run), "class": f"curve {style}"})


def _marks(name: str, points: Sequence[PrecisionPoint]) -> Iterator[ET.Element]:
    """Draw a dot at each error of the subject, and a cross where it is not finite and should be."""
    dots, crosses = [], []
    for at, point in enumerate(points):
        place, error = _across(at, len(points)), getattr(point, name)
        if error is not None:
            dots.append(f"M{place:.0f} {_height(error):.0f}h0")
        elif getattr(point, f"exact_{name}") is not None:
            crosses.append(f"M{place - 3:.0f} {TOP - 13}l6 6m0-6l-6 6")
    if dots:
        yield _path(dots, f"dots {name}")
    if crosses:
        yield _path(crosses, "cross")


def _legend() -> Iterator[ET.Element]:
    for at, name in enumerate(("y", "dx")):
        yield from _sample(name, f"{name} of the subject", 40 + 160 * at, 214, exact=False)
        yield from _sample(name, f"{name}, exact law", 40 + 160 * at, 230, exact=True)


def _sample(name: str, words: str, left: float, y: float, *, exact: bool) -> Iterator[ET.Element]:
    yield _line(left, y - 4, left + 24, y - 4, f"curve {name} exact" if exact else f"curve {name}")
    yield _text(left + 30, y, words)
