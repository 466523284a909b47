"""Figures with two logarithmic axes: errors over the mean, and times over bytes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from _drawing import circle, figure, line, path, rect, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from xml.etree import ElementTree as ET

__all__ = ["errors", "times"]

SUPERSCRIPT: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
COLOURS: Final = ("direct", "mean", "variance")


@dataclass(frozen=True, slots=True)
class Panel:
    """A diagram with logarithmic axes; limits are powers of ten.

    Attributes
    ----------
    left, top, width, height
        The place of the diagram, without its numbers.
    x, y
        The lowest and the highest power of ten.
    """

    left: float
    top: float
    width: float
    height: float
    x: tuple[int, int]
    y: tuple[int, int]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the place of a point."""
        along = (math.log10(x) - self.x[0]) / (self.x[1] - self.x[0])
        up = (math.log10(y) - self.y[0]) / (self.y[1] - self.y[0])
        return self.left + along * self.width, self.top + (1 - up) * self.height

    def axes(self, title: str, x_name: str, *, step: int = 1) -> Iterator[ET.Element]:
        """Give the grid, its numbers, and the names."""
        bottom, right = self.top + self.height, self.left + self.width
        for power in range(self.x[0], self.x[1] + 1, step):
            x, _ = self.at(10**power, 10 ** self.y[0])
            yield line(x, self.top, x, bottom, "grid")
            yield text(x, bottom + 17, ten(power), "small muted", anchor="middle")
        for power in range(self.y[0], self.y[1] + 1, step):
            _, y = self.at(10 ** self.x[0], 10**power)
            yield line(self.left, y, right, y, "grid")
            yield text(self.left - 6, y + 4, ten(power), "small muted", anchor="end")
        yield text(self.left, self.top - 8, title, "strong")
        yield text(right, bottom + 34, x_name, "small muted", anchor="end")


def ten(power: int) -> str:
    """Write a power of ten."""
    return "10" + str(power).translate(SUPERSCRIPT)


def legend(names: Mapping[str, str], left: float, top: float) -> Iterator[ET.Element]:
    """Give the names of colours, one beside the other."""
    for name, colour in names.items():
        yield rect(left, top - 10, 12, 12, f"fill-{colour}")
        yield text(left + 18, top, name, "small")
        left += 40 + 8 * len(name)


def errors(source: Path) -> str:
    """Draw the errors of y and dx over the mean, from the file that `make numerics` writes."""
    measured: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    names = dict(zip(measured["errors"], COLOURS, strict=True))
    marks: list[ET.Element] = [*legend(names, 50, 24)]
    for at, result in enumerate(("y", "dx")):
        panel = Panel(50, 70 + 270 * at, 490, 180, (0, 6), (-1, 7))
        marks += panel.axes(f"error of {result}, in units", "mean / standard deviation")
        for name, colour in names.items():
            curve = zip(measured["offsets"], measured["errors"][name][result], strict=True)
            points = [panel.at(*point) for point in curve]
            marks += [path(points, f"line {colour}")]
            marks += [circle(x, y, 3.5, f"fill-{colour}") for x, y in points]
    last = {name: found["y"][-1] for name, found in measured["errors"].items()}
    title = "Errors in float32 over the mean, in standard deviations"
    description = (
        f"The largest errors of y and dx in units of float32, {measured['memory']}. At a mean of "
        f"{measured['offsets'][-1]:g} standard deviations the error of y is "
        + ", ".join(f"{value:.2g} with {name}" for name, value in last.items())
        + "."
    )
    return figure(560, 570, title, description, marks)


def times(rows: list[dict[str, Any]]) -> str:
    """Draw the times of the engine, of PyTorch and of a copy over the bytes of x."""
    names = {"backnorm": "direct", "PyTorch": "mean", "copy of x": "variance"}
    marks: list[ET.Element] = [*legend(names, 50, 24)]
    for at, (op, layout) in enumerate(
        (op, layout) for op in ("forward", "backward") for layout in ("nchw", "nhwc")
    ):
        panel = Panel(50 + 265 * (at % 2), 70 + 265 * (at // 2), 225, 180, (1, 9), (-4, 2))
        marks += panel.axes(f"{op}, {layout.upper()}: ms", "bytes of x", step=2)
        members = [row for row in rows if (row["op"], row["layout"]) == (op, layout)]
        for name, points in _series(members).items():
            places = [panel.at(*point) for point in points]
            marks += [circle(x, y, 2.5, f"fill-{names[name]}") for x, y in places]
    title = "Time over the bytes of x, one point for each shape"
    description = (
        "Four diagrams, forward and backward in NCHW and NHWC. Below about 10 KB a call has a "
        "fixed cost. Above 10 MB the engine is between a copy of the same bytes and PyTorch."
    )
    return figure(560, 560, title, description, marks)


def _series(rows: list[dict[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    size = {id(row): 4 * math.prod(row["shape"]) for row in rows}
    return {
        "copy of x": [(size[id(row)], row["copy"] * 1e3) for row in rows],
        "PyTorch": [(size[id(row)], _of_torch(row) * 1e3) for row in rows],
        "backnorm": [(size[id(row)], row["backnorm"] * 1e3) for row in rows],
    }


def _of_torch(row: Mapping[str, Any]) -> float:
    """Return PyTorch's seconds, the faster of its ways."""
    return min(time for name, time in row["peers"].items() if name.startswith("torch"))
