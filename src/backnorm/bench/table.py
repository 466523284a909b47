"""Rows and summary as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from backnorm.bench.idle import HOT, ONE_THREAD, RESTED

if TYPE_CHECKING:
    from backnorm.bench.summary import BenchRow

__all__ = ["idle_table", "losses_line", "rows_table", "summary_table", "training_table"]

BAR = 20  # characters for the slowest call of a row


def rows_table(rows: list[BenchRow]) -> Table:
    """Return a table of the rows: milliseconds, ratios, a bar for engine, copy and peer."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("op", "layout", "shape"):
        table.add_column(name, no_wrap=True)
    for name in ("backnorm", "copy", "peer", "to copy", "to peer"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("# backnorm  : copy  - peer", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: BenchRow) -> tuple[str, ...]:
    peer = min(row.peers.values()) if row.peers else None
    shape = "x".join(map(str, row.shape))
    ratio = "-" if row.to_fastest_peer is None else f"{row.to_fastest_peer:.2f}"
    times = (_milliseconds(row.backnorm), _milliseconds(row.copy), _milliseconds(peer))
    return (row.op, row.layout, shape, *times, f"{row.to_copy:.2f}", ratio, _bar(row, peer))


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.3f}"


def _bar(row: BenchRow, peer: float | None) -> str:
    longest = max(row.backnorm, row.copy, peer or 0.0)
    marks = {"-": peer or 0.0, "#": row.backnorm, ":": row.copy}
    lengths = {mark: round(BAR * seconds / longest) for mark, seconds in marks.items()}
    line = ""
    for mark, length in sorted(lengths.items(), key=lambda item: item[1]):
        line += mark * (length - len(line))
    return line


def summary_table(summary: dict[str, dict[str, dict[str, dict[str, float | None]]]]) -> Table:
    """Return a table with a line for each layout, operation and group of shapes."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("layout", "op", "shapes"):
        table.add_column(name)
    for name in ("to copy", "to peer", "slowest to peer"):
        table.add_column(name, justify="right")
    for layout, operations in summary.items():
        for op, groups in operations.items():
            for group, ratios in groups.items():
                table.add_row(layout, op, group, *(_ratio(value) for value in ratios.values()))
    return table


def idle_table(rows: list[BenchRow]) -> Table | None:
    """Return a table of the calls after a rest: milliseconds. None where none were timed."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("layout", "shape", "call"):
        table.add_column(name, no_wrap=True)
    for name in (HOT, RESTED, ONE_THREAD, "to one thread"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        for name, times in (row.latencies or {}).items():
            shape = "x".join(map(str, row.shape))
            cells = [_milliseconds(times[when]) for when in (HOT, RESTED, ONE_THREAD)]
            table.add_row(
                row.layout, shape, name, *cells, _ratio(times[RESTED] / times[ONE_THREAD])
            )
    return table if table.row_count else None


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def training_table(row: dict[str, Any]) -> Table:
    """Return a table with a line for each network: milliseconds, MB, and their ratios to stock."""
    shape = f"{row['batch']}x3x{row['size']}x{row['size']}"
    title = f"{row['model']}, {row['activation']}, {row['layout']}, {shape}"
    table = Table(title=title, box=None, header_style="bold", pad_edge=False)
    table.add_column("network", no_wrap=True)
    for name in ("step, ms", "to stock", "norm + act, ms", "to stock", "held, MB", "to stock"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in row["held_bytes"]:
        cells = []
        for column, scale in (("step", 1e3), ("normalization", 1e3), ("held_bytes", 1e-6)):
            value, ratio = row[column].get(name), row["to_stock"][column].get(name)
            cells += ["-" if value is None else f"{value * scale:.1f}", _ratio(ratio)]
        table.add_row(name, *cells)
    return table


def losses_line(row: dict[str, Any]) -> str:
    """Return a sentence: how far the losses are from those of stock, and what rounding explains."""
    steps, differences = len(row["losses"]["stock"]), dict(row["loss_difference"])
    nudged = differences.pop("stock, nudged")
    return (
        f"Relative difference to the losses of stock over {steps} steps: at most "
        f"{max(differences.values()):.1e}; of stock with its first weights one rounding off: "
        f"{nudged:.1e}."
    )
