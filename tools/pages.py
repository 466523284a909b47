"""Write the generated pages and figures of docs/: this is the one script that does so.

    python tools/pages.py                                  pages made of the package's tables, and
                                                           figures
    python tools/pages.py numerics                         the errors, measured now
    python tools/pages.py architectures                    what is converted in each architecture
    python tools/pages.py networks FOLDER                  real networks, converted and compared
    python tools/pages.py programs FOLDER                  norms of libraries in other languages,
                                                           built there and audited
    python tools/pages.py packages FOLDER                  norms of Python packages without an
                                                           adapter, installed there and audited
    python tools/pages.py frameworks [NAME …] [NAME=INTERPRETER …]
                                                           audits of the frameworks, run now: of
                                                           the first names, or else of all that are
                                                           installed here, and of those elsewhere
    python tools/pages.py performance RUN …                the medians of several runs of
                                                           `backnorm bench --json RUN`
    python tools/pages.py jax RUN …                        the same of `backnorm bench --op jax`
    python tools/pages.py cheatsheet                       cheatsheet.pdf in docs/ and in docs/zh/,
                                                           printed from site/

The first form takes a second, and tests/test_pages.py fails if a page differs from what it writes.
The tables in docs/performance.md belong to it, because docs/performance.json holds their run, and
so do all figures: that of errors is drawn from docs/numerics.json, which `make numerics` writes.
The other forms measure, which takes minutes: `make numerics`, `make architectures`,
`make networks`, `make programs`, `make packages`, `make frameworks`. `make figures` measures what
the figures show, and draws them.

Marks in a page say which part is generated. All other parts are written by hand.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import _cheatsheet
import _chinese
import _figures
import _frameworks
import _jax_times
import _packages
import _peers
import _performance
import _programs
import _runs
from backnorm._meter import metered
from backnorm.cli._targets import is_installed
from backnorm.host.calls import FRAMEWORKS
from backnorm.report.dialects import to_page
from backnorm.report.findings import to_findings, to_method_tables

DOCS = Path(__file__).parents[1] / "docs"

PERFORMANCE = DOCS / "performance.json"
JAX_TIMES = DOCS / "performance-jax.json"

METHOD_MARK = "<!-- from here written by tools/pages.py -->\n"
FRAMEWORKS_MARK = "<!-- written by hand from here -->"
BEGIN = "<!-- begin {}: written by tools/pages.py -->\n"
END = "<!-- end {} -->\n"

MARKS_MISSING = "The marks of the table {} are missing in the page. Put them back."


def pages() -> dict[Path, str]:
    """Return each page and figure that needs no measurement, and what it must say."""
    method, performance = DOCS / "audit-method.md", DOCS / "performance.md"
    by_hand = method.read_text(encoding="utf-8").partition(METHOD_MARK)[0]
    text = performance.read_text(encoding="utf-8")
    tables = _performance.tables(PERFORMANCE) | _peers.tables(PERFORMANCE)
    tables |= _jax_times.tables(JAX_TIMES)
    for name, table in tables.items():
        text = with_table(text, name, table)
    return {
        DOCS / "dialects.md": to_page(),
        DOCS / "findings.md": to_findings(),
        DOCS / "zh" / "findings.md": _chinese.findings(DOCS / "zh" / "findings.json"),
        method: by_hand + METHOD_MARK + to_method_tables(),
        performance: text,
        **_figures.figures(DOCS),
    }


def with_table(page: str, name: str, table: str) -> str:
    """Return a page with a new table between the marks of that name."""
    begin, end = BEGIN.format(name), END.format(name)
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    if not after:  # or the page would lose its end
        raise SystemExit(MARKS_MISSING.format(name))
    return f"{before}{begin}\n{table}\n{end}{after}"


def with_sections(page: str, new: dict[str, str]) -> str:
    """Return the frameworks' page with new sections in place of the old ones or behind them."""
    generated, _, by_hand = page.partition(FRAMEWORKS_MARK)
    return _frameworks.renewed(generated, new) + FRAMEWORKS_MARK + (by_hand or "\n")


def write_tables() -> None:
    """Write the pages that are made of the package's tables."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


def write_numerics() -> None:
    """Measure the errors, and write their table and what the figure shows."""
    import _numerics  # noqa: PLC0415 - it needs torch

    path, table = DOCS / "numerics.md", _numerics.table()
    path.write_text(with_table(path.read_text(encoding="utf-8"), "errors", table), encoding="utf-8")
    curve = json.dumps(_numerics.curve(), indent=1)
    (DOCS / "numerics.json").write_text(curve + "\n", encoding="utf-8")


def write_architectures() -> None:
    """Convert each architecture that the tests train, and write the table of its layers."""
    import _architectures  # noqa: PLC0415 - it needs torchvision and timm

    path, table = DOCS / "pytorch.md", _architectures.table()
    text = path.read_text(encoding="utf-8")
    path.write_text(with_table(text, "architectures", table), encoding="utf-8")


def write_networks(folder: Path) -> None:
    """Convert real networks that are kept in a folder, and write their table if all are right."""
    import networks  # noqa: PLC0415 - it needs the libraries of the formats

    found = networks.results(networks.NETWORKS, folder.resolve())
    if wrong := [result.fault for result in found if result.fault]:
        raise SystemExit("\n".join(wrong))
    path = DOCS / "files.md"
    text = with_table(path.read_text(encoding="utf-8"), "networks", networks.table(found))
    path.write_text(text, encoding="utf-8")


def write_programs(folder: Path) -> None:
    """Build programs of libraries in a folder, audit them, and write the table of verdicts."""
    path, source = DOCS / "libraries.md", DOCS.parent / "examples" / "programs" / "libraries"
    table = _programs.table(source, folder.resolve())
    text = path.read_text(encoding="utf-8")
    path.write_text(with_table(text, "libraries", table), encoding="utf-8")


def write_packages(folder: Path) -> None:
    """Install Python packages in a folder, audit their norms, and write the table of verdicts."""
    path, source = DOCS / "libraries.md", DOCS.parent / "examples" / "frameworks"
    table = _packages.table(source, folder.resolve())
    text = path.read_text(encoding="utf-8")
    path.write_text(with_table(text, "packages", table), encoding="utf-8")


def chosen_frameworks(arguments: list[str]) -> list[str]:
    """Return what is audited here, all that is installed if none is named, and then elsewhere."""
    here = [argument for argument in arguments if "=" not in argument]
    elsewhere = [argument for argument in arguments if "=" in argument]
    return [*(here or filter(is_installed, FRAMEWORKS)), *elsewhere]


def write_frameworks(arguments: list[str]) -> None:
    """Audit the frameworks that are named, and write their sections."""
    new = {}
    with metered("frameworks", len(arguments)) as meter:
        for argument in meter.each(arguments):
            name = argument.partition("=")[0]
            meter.begin(name)
            new[name] = _frameworks.section(argument)
    # Read after the audits: in the minutes that they take the page may be edited.
    path = DOCS / "frameworks.md"
    path.write_text(with_sections(path.read_text(encoding="utf-8"), new), encoding="utf-8")


def write_performance(record: Path, runs: list[Path]) -> None:
    """Write the medians of several runs, and the tables and the figure that show them."""
    run = _runs.median_run(runs)
    record.write_text(_runs.to_json(run), encoding="utf-8")
    write_tables()


RECORDS = {"performance": PERFORMANCE, "jax": JAX_TIMES}


MEASURED = {"numerics": write_numerics, "architectures": write_architectures}
"""What measures without a word more."""


def main(arguments: list[str]) -> None:
    """Write what is asked for."""
    match arguments:
        case []:
            write_tables()
        case [name] if name in MEASURED:
            MEASURED[name]()
        case ["networks", folder]:
            write_networks(Path(folder))
        case ["programs", folder]:
            write_programs(Path(folder))
        case ["packages", folder]:
            write_packages(Path(folder))
        case ["cheatsheet"]:
            for name in ("cheatsheet", "zh/cheatsheet"):
                page = DOCS.parent / "site" / f"{name}.html"
                _cheatsheet.print_page(page, DOCS / f"{name}.pdf")
        case [("performance" | "jax") as name, _, *_]:
            write_performance(RECORDS[name], list(map(Path, arguments[1:])))
        case ["frameworks", *named]:
            write_frameworks(chosen_frameworks(named))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
