"""The picture: bytes against time, one point a shape, the copy as the roof."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm.errors import NotInstalledError

if TYPE_CHECKING:
    from pathlib import Path

    from backnorm.bench.summary import BenchRow

__all__ = ["plot"]

MARKS = {"backnorm": "o", "copy": "_", "peer": "x"}


def plot(rows: list[BenchRow], path: Path) -> None:
    """Write a PNG with one panel for each layout and operation."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - only when a picture is asked for
    except ImportError:
        raise NotInstalledError.package("matplotlib", "bench", "A picture") from None
    panels = sorted({(row.op, row.layout) for row in rows})
    columns = len({layout for _, layout in panels})
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.6 * lines), layout="constrained")
    for index, (op, layout) in enumerate(panels):
        axes = figure.add_subplot(lines, columns, index + 1)
        members = [row for row in rows if (row.op, row.layout) == (op, layout)]
        for name, times in _series(members).items():
            axes.plot([b for b, _ in times], [t for _, t in times], MARKS[name], label=name)
        axes.set(xscale="log", yscale="log", title=f"{op}, {layout}")
        axes.set(xlabel="bytes of x", ylabel="milliseconds")
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)


def _series(rows: list[BenchRow]) -> dict[str, list[tuple[int, float]]]:
    series = {
        "peer": [(row.bytes, min(row.peers.values()) * 1e3) for row in rows if row.peers],
        "backnorm": [(row.bytes, row.backnorm * 1e3) for row in rows],
        "copy": [(row.bytes, row.copy * 1e3) for row in rows],
    }
    return {name: points for name, points in series.items() if points}
