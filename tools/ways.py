"""Time two ways of the engine in turn, and print the quotients of their times.

    python tools/ways.py WAY [OTHER] [--suite resnet50]... [--rounds 5]

A way is a list such as `kernel=native-avx2,dtype=bfloat16`, of `sums`, `kernel` and `dtype`; what
it does not name is the default, and so is OTHER if it is not given. Each shape is timed in one
process, in both layouts and passes, with a given output; of each call the lower quartile counts,
since other programs may hold a core.

A row of the table has shapes up to 8 MiB of OTHER, larger ones, or those of 50 MB and more. A cell
has the sum of the times of WAY over that of OTHER, and in parentheses the range over the shapes.
"""

from __future__ import annotations

import argparse
import gc
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from backnorm import ops
from backnorm._meter import metered
from backnorm.bench.engine import data
from backnorm.bench.suites import SUITES, BenchCase, cases
from backnorm.bench.summary import CACHED_BYTES, LARGE_BYTES
from backnorm.bench.timing import quartiles, sampled
from backnorm.kernels import available
from backnorm.kernels.threads import get_num_threads
from backnorm.results import Gradients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

NETWORKS = ("resnet50", "mobilenetv2")
COLUMNS = tuple((layout, op) for layout in ("nchw", "nhwc") for op in ("forward", "backward"))
ROWS = {
    "up to 8 MiB": lambda size: size <= CACHED_BYTES,
    "larger": lambda size: size > CACHED_BYTES,
    "of these 50 MB and more": lambda size: size >= LARGE_BYTES,
}
"""Which shapes a row has, by the bytes of x in the second way."""

WRONG = "A way must be a list of NAME=VALUE, NAME one of {}, got {}."


@dataclass(frozen=True)
class Way:
    """How the engine is called."""

    sums: Literal["float64", "exact"] = "float64"
    kernel: str = "auto"
    dtype: str = "float32"


@dataclass(frozen=True)
class Quotient:
    """The seconds of both ways for one shape, layout and pass; bytes of x in the second way."""

    layout: str
    op: str
    bytes: int
    one: float
    other: float


def way(text: str) -> Way:
    """Return the way that a text names."""
    names = [field.name for field in fields(Way)]
    pairs = [part.partition("=") for part in text.split(",") if part]
    if any(name not in names or not value for name, _, value in pairs):
        raise SystemExit(WRONG.format(", ".join(names), text))
    chosen: dict[str, Any] = {name: value for name, _, value in pairs}
    return Way(**chosen)


def call(case: BenchCase, layout: str, op: str, how: Way) -> tuple[Callable[[], object], int]:
    """Return a call of the engine with a given output, and the bytes of x."""
    arrays = data(case.shape, layout, how.dtype)
    given = (arrays.x, arrays.gamma, arrays.beta)
    if op == "forward":
        return (
            lambda: ops.batch_norm(*given, out=arrays.out, sums=how.sums, kernel=how.kernel)
        ), arrays.x.nbytes
    fwd = ops.batch_norm(*given, sums=how.sums, kernel=how.kernel)
    into = Gradients(dx=arrays.out)
    return (
        lambda: ops.batch_norm_backward(arrays.dy, fwd, into=into, kernel=how.kernel)
    ), arrays.x.nbytes


def quotient(case: BenchCase, layout: str, op: str, ways: tuple[Way, Way], rounds: int) -> Quotient:
    """Time both ways for one shape."""
    (one, _), (other, size) = (call(case, layout, op, how) for how in ways)
    samples = sampled({"one": one, "other": other}, rounds)
    seconds = {name: quartiles(values)[0] for name, values in samples.items()}
    gc.collect()
    return Quotient(layout, op, size, **seconds)


def table(found: Sequence[Quotient]) -> str:
    """Return a table of Markdown: a row for each size, a column for each layout and pass."""
    lines = ["| |" + "".join(f" {layout} {op} |" for layout, op in COLUMNS), "|---" * 5 + "|"]
    for title, belongs in ROWS.items():
        cells = [
            _cell([one for one in found if (one.layout, one.op) == column and belongs(one.bytes)])
            for column in COLUMNS
        ]
        lines.append(f"| {title} |" + "".join(f" {cell} |" for cell in cells))
    return "\n".join(lines)


def _cell(found: Sequence[Quotient]) -> str:
    if not found:
        return ""
    ratios = [each.one / each.other for each in found]
    whole = math.fsum(each.one for each in found) / math.fsum(each.other for each in found)
    return f"{whole:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def measured(ways: tuple[Way, Way], suites: Iterable[str], rounds: int) -> list[Quotient]:
    """Time both ways for the shapes of some suites, and say on stderr how far this is."""
    jobs = [(case, *column) for suite in suites for case in cases(suite) for column in COLUMNS]
    with metered("ways", len(jobs)) as meter:
        return [quotient(*job, ways, rounds) for job in meter.each(jobs)]


def main() -> None:
    """Print what was timed, and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("one", type=way, metavar="WAY")
    parser.add_argument("other", type=way, metavar="OTHER", nargs="?", default=Way())
    parser.add_argument("--suite", action="append", choices=SUITES)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    suites = asked.suite or NETWORKS
    print(f"{asked.one}\nbeside {asked.other}")
    print(f"{', '.join(suites)}; threads: {get_num_threads()}; kernels: {', '.join(available())}")
    print(f"rounds: {asked.rounds}\n")
    print(table(measured((asked.one, asked.other), suites, asked.rounds)))


if __name__ == "__main__":
    main()
