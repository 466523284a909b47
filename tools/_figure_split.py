"""The gradient of one batch, split into its three parts; and how an audit weighs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

import backnorm as bn
from _drawing import circle, figure, line, rect, text
from backnorm import reference
from backnorm.audit.specimens.cut import VarianceCut
from backnorm.report._figures import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from xml.etree import ElementTree as ET

__all__ = ["fit", "split"]

X: Final = (1.0, 2.0, 4.0, 8.0)
DY: Final = (1.0, 0.0, 0.0, 0.0)

LABELS: Final = {
    "direct": ("D", "direct"),
    "mean": ("M", "through the mean"),
    "variance": ("V", "through the variance"),
}
LEFT, WIDTH = 200, 560
ROW: Final = 92
TOP: Final = 50
"""Where the rows of the first figure begin, below the values of x and dy."""
SHOWN: Final = 16
"""Values of a channel in the second figure: more would be too thin on a phone."""


@dataclass(frozen=True, slots=True)
class Bars:
    """A row of bars around zero.

    Attributes
    ----------
    top
        Where the row begins.
    scale
        Height of the value 1.
    right
        Where the row ends.
    """

    top: float
    scale: float
    right: float = WIDTH - 10

    @property
    def zero(self) -> float:
        """Height of the value 0."""
        return self.top + ROW / 2

    def places(self, count: int) -> Iterator[tuple[float, float]]:
        """Give the middle and the width of each bar."""
        step = (self.right - LEFT) / count
        for at in range(count):
            yield LEFT + step * (at + 0.5), step * 0.6

    def draw(self, values: Sequence[float], style: str) -> Iterator[ET.Element]:
        """Give the line of zero and a bar for each value."""
        yield line(LEFT, self.zero, self.right, self.zero, "axis")
        for value, (middle, width) in zip(values, self.places(len(values)), strict=True):
            height = abs(value) * self.scale
            top = self.zero - max(value, 0) * self.scale
            yield rect(middle - width / 2, top, width, max(height, 1), style)

    def numbers(self, values: Sequence[float]) -> Iterator[ET.Element]:
        """Give the number of each bar, at its end."""
        for value, (middle, _) in zip(values, self.places(len(values)), strict=True):
            end = self.zero - value * self.scale
            base = end - 4 if value >= 0 else end + 13
            yield text(middle, base, f"{value:+.3f}", "small", anchor="middle")

    def name(self, first: str, second: str) -> Iterator[ET.Element]:
        """Give the name of the row, in two lines."""
        yield text(10, self.zero - 3, first, "strong")
        yield text(10, self.zero + 17, second, "small muted")


def split() -> str:
    """Draw D, M, V and their sum for the batch 1, 2, 4, 8 with dy = 1, 0, 0, 0."""
    column = [np.array(values)[:, None] for values in (DY, X)]
    parts = reference.backward_parts(*column, eps=0.0)
    rows = {name: getattr(parts, name)[:, 0].tolist() for name in LABELS}
    dx = reference.backward(*column, eps=0.0).dx[:, 0].tolist()
    scale = 28 / max(abs(value) for row in (*rows.values(), dx) for value in row)
    marks: list[ET.Element] = []
    for at, (name, row) in enumerate(rows.items()):
        bars = Bars(TOP + ROW * at, scale)
        sign = "" if at == 0 else "+ "
        marks += [*bars.name(sign + LABELS[name][0], LABELS[name][1])]
        marks += [*bars.draw(row, f"fill-{name}"), *bars.numbers(row)]
    bars = Bars(TOP + ROW * len(rows), scale)
    marks += [*bars.name("= dx", "the gradient"), *bars.draw(dx, "fill-whole"), *bars.numbers(dx)]
    for x, dy, (middle, _) in zip(X, DY, bars.places(len(X)), strict=True):
        marks += [text(middle, 20, f"x = {x:g}", "small", anchor="middle")]
        marks += [text(middle, 38, f"dy = {dy:g}", "small muted", anchor="middle")]
    title = "The gradient of one batch, split into its three parts"
    description = (
        "Four rows of bars for x = 1, 2, 4, 8 and dy = 1, 0, 0, 0: "
        + "; ".join(f"{name} {', '.join(f'{v:.3f}' for v in row)}" for name, row in rows.items())
        + f"; their sum dx {', '.join(f'{v:.3f}' for v in dx)}."
    )
    return figure(WIDTH, TOP + ROW * (len(rows) + 1), title, description, marks)


def fit() -> str:
    """Draw how the coefficients of a layer that forgets the variance are fitted, by an audit."""
    record = bn.audit(VarianceCut, quick=True)
    parts = record.parts
    order = sorted(range(len(parts.x)), key=lambda at: parts.x[at])[:: len(parts.x) // SHOWN]
    rows = {name: [getattr(parts, name)[at] for at in order] for name in LABELS}
    shares = {name: getattr(record.coefficients, name) for name in LABELS}
    dx = [parts.dx[at] for at in order]
    total = [sum(shares[name] * rows[name][at] for name in LABELS) for at in range(len(order))]
    scale = 40 / max(abs(value) for row in (*rows.values(), dx) for value in row)
    marks: list[ET.Element] = []
    for at, (name, row) in enumerate(rows.items()):
        bars = Bars(ROW * at, scale)
        sign = "" if at == 0 else "+ "
        marks += bars.name(f"{sign}{number(shares[name])} × {LABELS[name][0]}", LABELS[name][1])
        marks += bars.draw(row, f"fill-{name}")
    bars = Bars(ROW * len(rows), scale)
    marks += [*bars.name("≈ dx", "bars: the sum, dots: dx"), *bars.draw(total, "fill-whole")]
    places = zip(dx, bars.places(len(dx)), strict=True)
    marks += [circle(x, bars.zero - v * scale, 4, "fill-text") for v, (x, _) in places]
    height = ROW * (len(rows) + 1) + 30
    words = f"What the three parts leave of dx (residual): {record.residual:.6f} of D"
    marks += [text(10, height - 12, words, "small muted")]
    numbers = ", ".join(f"{name} {number(share)}" for name, share in shares.items())
    title = "How the audit fits the coefficients of a layer that forgets the variance"
    description = f"The dx that the layer returned is the sum of the parts times {numbers}."
    return figure(WIDTH, height, title, description, marks)
