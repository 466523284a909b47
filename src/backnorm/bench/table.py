"""Rows and summary as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from backnorm.bench.idle import HOT, ONE_THREAD, RESTED

if TYPE_CHECKING:
    from backnorm.bench.summary import BenchRow, Summary

__all__ = [
    "errors_line",
    "idle_table",
    "losses_line",
    "rows_table",
    "summary_table",
    "training_table",
]

BAR = 20  # characters for the slowest call of a row


def rows_table(rows: list[BenchRow]) -> Table:
    """Return a table of the rows: milliseconds, ratios, a bar for engine, copy and peer.

    Beside the engine's median stand its quartiles.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("op", "layout", "shape", "in"):
        table.add_column(name, no_wrap=True)
    times = ("backnorm", "quartiles", "bound", "copy", "peer")
    for name in (*times, "to bound", "to copy", "to peer"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("# backnorm  : copy  - peer", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: BenchRow) -> tuple[str, ...]:
    peer = min(row.peers.values()) if row.peers else None
    shape = "x".join(map(str, row.shape))
    low, high = row.quartiles.get("backnorm", (row.backnorm, row.backnorm))
    noise = f"{_milliseconds(low)}-{_milliseconds(high)}"
    times = (_milliseconds(seconds) for seconds in (row.bound, row.copy, peer))
    ratios = (_ratio(value) for value in (row.to_bound, row.to_copy, row.to_fastest_peer))
    first = (row.op, row.layout, shape, row.cache, _milliseconds(row.backnorm), noise)
    return (*first, *times, *ratios, _bar(row, peer))


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


def summary_table(suite: str, summary: Summary) -> Table:
    """Return a table with a line for each layout, operation and group of shapes."""
    table = Table(title=suite, box=None, header_style="bold", pad_edge=False, title_justify="left")
    for name in ("layout", "op", "shapes"):
        table.add_column(name)
    lines = [
        (layout, op, group, ratios)
        for layout, operations in summary.items()
        for op, groups in operations.items()
        for group, ratios in groups.items()
    ]
    columns = dict.fromkeys(name for *_, ratios in lines for name in ratios)
    for name in columns:
        table.add_column(name.replace("_", " ").replace("fastest ", ""), justify="right")
    for layout, op, group, ratios in lines:
        table.add_row(layout, op, group, *(_ratio(ratios.get(name)) for name in columns))
    return table


def errors_line(rows: list[BenchRow]) -> str:
    """Return a line: the largest error of each result of the engine and of oneDNN."""
    largest: dict[str, dict[str, float]] = {}
    for row in rows:
        for name, errors in row.errors.items():
            known = largest.setdefault(name, {})
            for result, error in errors.items():
                known[result] = max(error, known.get(result, 0.0))
    parts = [
        f"{name} " + ", ".join(f"{result} {error:.2g}" for result, error in errors.items())
        for name, errors in largest.items()
        if errors
    ]
    return "Largest errors, in units of rounding: " + "; ".join(parts) + "." if parts else ""


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
    columns = {"step": "step, ms", "normalization": "norm + act, ms", "held_bytes": "held, MB"}
    for title in columns.values():
        table.add_column(title, justify="right", no_wrap=True)
        table.add_column("to stock", justify="right", no_wrap=True)
    shares = ("convolution", "rest")
    for name in shares:
        table.add_column(f"{name}, ms", justify="right", no_wrap=True)
    for name in row["held_bytes"]:
        cells = []
        for column in columns:
            value, ratio = row[column].get(name), row["to_stock"][column].get(name)
            cells += [_scaled(value, 1e-6 if column == "held_bytes" else 1e3), _ratio(ratio)]
        cells += [_scaled(row[column].get(name), 1e3) for column in shares]
        table.add_row(name, *cells)
    return table


def _scaled(value: float | None, scale: float) -> str:
    return "-" if value is None else f"{value * scale:.1f}"


def losses_line(row: dict[str, Any]) -> str:
    """Return a sentence: how far the losses are from those of stock, and what rounding explains."""
    steps, differences = len(row["losses"]["stock"]), dict(row["loss_difference"])
    nudged = differences.pop("stock, nudged")
    return (
        f"Relative difference to the losses of stock over {steps} steps: at most "
        f"{max(differences.values()):.1e}; of stock with its first weights one rounding off: "
        f"{nudged:.1e}."
    )
