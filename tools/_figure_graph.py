"""The computation graph of batch normalization, with the three paths of its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from _drawing import arrow, figure, rect, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree import ElementTree as ET

__all__ = ["graph"]

NODES: Final = {
    "x": (60, 150),
    "m": (210, 60),
    "v": (210, 240),
    "x̂": (370, 150),
    "y": (500, 150),
}
HALF_WIDTH, HALF_HEIGHT = 34, 24

FORMULAS: Final = {
    "m": (210, 26, "mean of x"),
    "v": (210, 284, "mean of (x − m)²"),
    "x̂": (370, 196, "(x − m) / √(v + ε)"),
    "y": (500, 116, "γ x̂ + β"),
}

# From, to, colour, dashed: as the gradient runs, against the forward pass.
BACKWARD: Final = (
    ("y", "x̂", "whole", False),
    ("x̂", "x", "direct", False),
    ("x̂", "m", "mean", False),
    ("m", "x", "mean", False),
    ("x̂", "v", "variance", False),
    ("v", "x", "variance", False),
    ("v", "m", "variance", True),
)

WORDS: Final = (
    (255, 140, "D = d", "direct"),
    (12, 88, "M = −mean(d)", "mean"),
    (8, 252, "V = −x̂ mean(d x̂)", "variance"),
    (222, 196, "0", "variance"),
    (430, 140, "dy", "whole"),
)


def graph() -> str:
    """Draw the graph; arrows show the way of the gradient."""
    title = "The three paths of the gradient from y back to x"
    description = (
        "The gradient dy reaches x_hat as d = gamma*dy/sqrt(v + eps). From there it goes to x "
        "directly (D), through the mean m (M), and through the variance v (V). The dashed path "
        "through the mean inside the variance gives 0."
    )
    return figure(560, 330, title, description, _arrows(), _nodes(), _words())


def _arrows() -> Iterator[ET.Element]:
    for source, target, colour, dashed in BACKWARD:
        yield arrow(*_edge(source, target), *_edge(target, source), colour, dashed=dashed)


def _edge(source: str, target: str) -> tuple[float, float]:
    """Return where the line from one node to another leaves the first."""
    (x, y), (to_x, to_y) = NODES[source], NODES[target]
    along, across = to_x - x, to_y - y
    shrink = max(abs(along) / (HALF_WIDTH + 3), abs(across) / (HALF_HEIGHT + 3))
    return x + along / shrink, y + across / shrink


def _nodes() -> Iterator[ET.Element]:
    for name, (x, y) in NODES.items():
        yield rect(x - HALF_WIDTH, y - HALF_HEIGHT, 2 * HALF_WIDTH, 2 * HALF_HEIGHT, "node")
        yield text(x, y + 5, name, "strong", anchor="middle")
    for x, y, words in FORMULAS.values():
        yield text(x, y, words, "small muted", anchor="middle")


def _words() -> Iterator[ET.Element]:
    for x, y, words, colour in WORDS:
        yield text(x, y, words, f"strong fill-{colour}")
    yield text(10, 316, "Arrows: the gradient, from y back to x. dx = D + M + V", "small muted")
