"""Parts of a figure: SVG that is legible on a light and on a dark page.

A figure brings its background, and follows the reader's scheme by itself, so that it can be an
image on any page. The colours are those of the audit's page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from backnorm.report._elements import element

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["arrow", "circle", "figure", "line", "path", "rect", "text"]

STYLE: Final = """
svg { --page: #ffffff; --text: #1b1e23; --muted: #565c66; --grid: #e3e6ea;
  --direct: #1d5fbf; --mean: #a8460a; --variance: #6b3cc0; --whole: #4d545e; --peer: #0b6b2f; }
@media (prefers-color-scheme: dark) {
  svg { --page: #14171b; --text: #e9ebee; --muted: #a9b0ba; --grid: #2b3037;
    --direct: #7fb3ff; --mean: #f2a356; --variance: #c6a6ff; --whole: #b4bac3; --peer: #62d68f; }
}
text { fill: var(--text); font: 15px system-ui, "DejaVu Sans", sans-serif; }
text.small { font-size: 13px; } text.muted { fill: var(--muted); } text.strong { font-weight: 700; }
.page { fill: var(--page); } .grid { stroke: var(--grid); } .axis { stroke: var(--muted); }
.fill-direct { fill: var(--direct); } .fill-mean { fill: var(--mean); }
.fill-variance { fill: var(--variance); } .fill-whole { fill: var(--whole); }
.fill-peer { fill: var(--peer); } .fill-text { fill: var(--text); }
.line { fill: none; stroke-width: 2.5; }
.direct { stroke: var(--direct); } .mean { stroke: var(--mean); }
.variance { stroke: var(--variance); } .whole { stroke: var(--whole); }
.peer { stroke: var(--peer); } .dashed { stroke-dasharray: 6 5; }
.node { fill: var(--page); stroke: var(--text); stroke-width: 1.5; }
"""

HEAD: Final = 9
"""Length of an arrow's head."""


def figure(
    width: int, height: int, title: str, description: str, *marks: ET.Element | Iterable[ET.Element]
) -> str:
    """Return the text of a figure with its background, its name, and what it shows in words."""
    flat: list[ET.Element] = []
    for mark in marks:
        flat += [mark] if isinstance(mark, ET.Element) else mark
    names = {"role": "img", "aria-labelledby": "title desc", "xmlns": "http://www.w3.org/2000/svg"}
    size = {"viewBox": f"0 0 {width} {height}", "width": width, "height": height}
    root = element(
        "svg",
        names | size,
        element("title", {"id": "title"}, title),
        element("desc", {"id": "desc"}, description),
    )
    style = ET.SubElement(root, "style")
    style.text = STYLE
    root.append(rect(0, 0, width, height, "page"))
    root.extend(flat)
    ET.indent(root, space="")
    return ET.tostring(root, encoding="unicode") + "\n"


def _shape(name: str, style: str, **places: float) -> ET.Element:
    numbers = {key.replace("_", "-"): f"{value + 0.0:.1f}" for key, value in places.items()}
    return element(name, {"class": style, **numbers})


def text(x: float, y: float, words: str, style: str = "", *, anchor: str = "start") -> ET.Element:
    """Return a line of text; y is its base."""
    places = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "class": style}
    return element("text", places, words)


def rect(x: float, y: float, width: float, height: float, style: str) -> ET.Element:
    """Return a rectangle."""
    return _shape("rect", style, x=x, y=y, width=width, height=height)


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> ET.Element:
    """Return a straight line."""
    return _shape("line", style, x1=x1, y1=y1, x2=x2, y2=y2)


def circle(x: float, y: float, radius: float, style: str) -> ET.Element:
    """Return a circle."""
    return _shape("circle", style, cx=x, cy=y, r=radius)


def path(points: Iterable[tuple[float, float]], style: str) -> ET.Element:
    """Return a line through points."""
    steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return element("polyline", {"class": style, "points": steps})


def arrow(
    x1: float, y1: float, x2: float, y2: float, colour: str, *, dashed: bool = False
) -> ET.Element:
    """Return an arrow, whose head ends at the second point."""
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    along, across = (x2 - x1) / length, (y2 - y1) / length
    x, y = x2 - HEAD * along, y2 - HEAD * across
    side = HEAD / 2
    corners = (
        (x2, y2),
        (x - side * across, y + side * along),
        (x + side * across, y - side * along),
    )
    return element(
        "g",
        {},
        line(x1, y1, x, y, f"line {colour}" + " dashed" * dashed),
        element(
            "polygon",
            {"class": f"fill-{colour}", "points": " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)},
        ),
    )
