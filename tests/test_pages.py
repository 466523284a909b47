"""The generated pages of docs/ are current."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

import _jax_times
import _peers
import _runs
import pages
from backnorm.bench.suites import SUITES
from backnorm.bench.summary import BenchRow

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

PAGES = pages.pages()
FRAMEWORKS = pages.DOCS / "frameworks.md"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_generated_page_is_current(path: pages.Path) -> None:
    """`make pages` writes it anew."""
    assert path.read_text(encoding="utf-8") == PAGES[path]


def test_a_tall_bar_stands_in_a_row() -> None:
    """Beside its index alone it would not be tall in Chromium: Eq. (7)."""
    pytest.importorskip("latex2mathml", reason="latex2mathml is not installed; make docs has it")
    mathml = docs_module("mathml")
    formula = mathml.to_mathml(r"\frac{a}{b}\bigg|_{m} \bigg( c \bigg)", "block")
    assert '<msub><mrow><mo form="postfix" stretchy="true" minsize=' in formula
    assert formula.count("stretchy") == 1


def docs_module(name: str) -> ModuleType:
    """Import a hook of the site."""
    spec = importlib.util.spec_from_file_location(name, pages.DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BROKEN = {
    "an option": (
        "<p><code>audit --quick x-y</code></p>",
        '<p><code>audit <span class="option">--quick</span> x-y</code></p>',
    ),
    "a long name in a table": (
        "<td><code>backnorm.torch.BatchNorm2d</code> (eval)</td>",
        "<td><code>backnorm.<wbr>torch.<wbr>BatchNorm2d</code> (eval)</td>",
    ),
    "an option with a long value": (
        "<td>moving_average_fraction=0.999</td>",
        "<td>moving_<wbr>average_<wbr>fraction=<wbr>0.<wbr>999</td>",
    ),
    "a short name": ("<td>torch.nn.SELU</td>",) * 2,
    "an address": ('<td><a href="a.html#backnorm.audit">x</a></td>',) * 2,
    "a block of code": ("<pre><code>backnorm audit --quick</code></pre>",) * 2,
    "a formula": ("<td><math>backnorm.torch.BatchNorm2d</math></td>",) * 2,
}


@pytest.mark.parametrize("case", BROKEN)
def test_lines_break_where_they_may(case: str) -> None:
    """Options are whole; long names in tables break behind dots, slashes and underscores."""
    before, after = BROKEN[case]
    assert docs_module("breaks").with_breaks(before) == after


TABLE = """<table>
<thead>
<tr>
<th>{}</th>
</tr>
</thead>
<tbody>
<tr>
<td>{}</td>
</tr>
</tbody>
</table>"""


def test_a_wide_table_has_headings_beside_its_values() -> None:
    """A narrow one stays as it is."""
    tables = docs_module("tables")
    narrow = TABLE.format("</th>\n<th>".join("abcd"), "</td>\n<td>".join("1234"))
    assert tables.with_headings(narrow) == narrow
    wide = TABLE.format(
        "</th>\n<th>".join(["<code>a</code>", *"bcde"]), "</td>\n<td>".join("12345")
    )
    made = tables.with_headings(wide)
    assert '<table role="table" data-columns="5">' in made
    assert made.count('<tr role="row">') == 2
    assert made.count('<th role="columnheader">') == 5
    for heading, value in zip("abcde", "12345", strict=True):
        assert f'<td role="cell" data-heading="{heading}">{value}</td>' in made


def test_a_menu_has_the_name_of_its_section() -> None:
    """What has no title keeps its label."""
    page = """<nav aria-labelledby="__nav_1_label"><label class="md-nav__title" for="__nav_1">
        <span class="icon"></span> The  start &amp; more </label></nav>
        <nav aria-labelledby="__nav_2_label"></nav><div data-md-component="search" role="dialog">"""
    made = docs_module("landmarks").with_names(page)
    assert '<nav aria-label="The start &amp; more">' in made
    assert '<nav aria-labelledby="__nav_2_label">' in made
    assert made.endswith('<div data-md-component="search" role="dialog" aria-label="Search">')


def test_every_figure_has_its_command() -> None:
    """CONTRIBUTING names each picture of docs/, and what writes it."""
    text = (pages.DOCS.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    pictures = [
        path.name
        for ending in ("pdf", "png", "svg")
        for path in pages.DOCS.rglob(f"*.{ending}")
        if path.parent.name != "assets"
    ]
    assert len(pictures) >= 10
    assert [name for name in pictures if f"`{name}`" not in text] == []


def test_every_script_is_named() -> None:
    """CONTRIBUTING, the Makefile or the architecture says what each script of tools/ is for."""
    tools = pages.DOCS.parent / "tools"
    text = "".join(
        (tools.parent / name).read_text(encoding="utf-8")
        for name in ("CONTRIBUTING.md", "Makefile", "docs/architecture.md")
    )
    scripts = [path.name for path in tools.glob("*.py") if not path.name.startswith("_")]
    assert len(scripts) >= 7
    assert [name for name in scripts if f"tools/{name}" not in text] == []


def test_a_table_is_written_between_its_marks() -> None:
    """What stands before and after them stays, and so do other tables."""
    begin, end = (mark.format("one") for mark in (pages.BEGIN, pages.END))
    other = pages.BEGIN.format("two") + "\nold\n\n" + pages.END.format("two")
    old = f"before\n\n{begin}\nold\n\n{end}\nafter\n\n{other}"
    new = pages.with_table(old, "one", "new\n")
    assert new == f"before\n\n{begin}\nnew\n\n{end}\nafter\n\n{other}"


def made_up(seconds: float, path: Path) -> Path:
    """A run of one row, whose fastest quarter takes half of its median."""
    calls = ("backnorm", "copy (plain)", "copy (streaming)", "bound (plain)", "onednn")
    times = dict.fromkeys(calls, seconds) | {"onednn": 1.0}
    quartiles = {name: (time / 2, time) for name, time in times.items()}
    row = BenchRow.of(
        SUITES["resnet50"][0], "forward", "nchw", "float32", 1, times, {"onednn": 1.0},
        cache="L2", quartiles=quartiles,
    )  # fmt: skip
    path.write_text(json.dumps({"schema": 2, "rows": [asdict(row)]}), encoding="utf-8")
    return path


def test_several_runs_make_one(tmp_path: Path) -> None:
    """Of each time the median over the runs of the fastest quarter."""
    paths = [made_up(seconds, tmp_path / f"{seconds}.json") for seconds in (8.0, 2.0, 4.0)]
    run = _runs.median_run(paths)
    (row,) = run["rows"]
    assert (run["runs"], row.backnorm, row.peers["onednn"], row.bound) == (3, 2.0, 0.5, 2.0)
    assert row.quartiles["backnorm"] == (2.0, 4.0)
    (line,) = list(_peers._behind(run["rows"]))[_peers.HEAD :]
    assert "| 32x64x112x112 | nchw | forward | L2 |" in line
    assert line.endswith("| 500.000 | 0.25 | 1.00 | memory |")
    assert _peers._text(list(_peers._slower(run["rows"]))) == "None.\n"


def test_a_record_has_few_digits(tmp_path: Path) -> None:
    """And nothing is lost but these."""
    run = _runs.median_run([made_up(2 / 3, tmp_path / "run.json")])
    (row,) = json.loads(_runs.to_json(run))["rows"]
    assert (row["backnorm"], row["shape"], row["op"]) == (0.3333, [32, 64, 112, 112], "forward")
    assert row["quartiles"]["backnorm"] == [0.3333, 0.6667]


def test_a_page_without_marks_is_an_error() -> None:
    """The text behind the table would be lost."""
    with pytest.raises(SystemExit, match="The marks of the table one are missing"):
        pages.with_table("before\n\nafter\n", "one", "new\n")


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("numerics.md", "errors"),
        ("files.md", "networks"),
        ("libraries.md", "libraries"),
        ("libraries.md", "packages"),
    ],
)
def test_a_measured_table_has_its_marks(page: str, name: str) -> None:
    """Without them the script that measures would end in an error, after minutes."""
    text = (pages.DOCS / page).read_text(encoding="utf-8")
    assert pages.with_table(text, name, "the new table\n").count("the new table\n") == 1


def test_sections_of_other_frameworks_and_the_hand_written_part_stay() -> None:
    """In their places; a new framework comes behind them."""
    old = pages.with_sections("", {"one": "## one\n\nold\n", "two": "## two\n\nkept\n"})
    old += "\n## By hand\n\nkept too\n"
    new = pages.with_sections(old, {"one": "## one\n\nnew\n", "three": "## three\n\nadded\n"})
    assert [line for line in new.split("\n") if line.startswith("## ")] == [
        "## one",
        "## two",
        "## three",
        "## By hand",
    ]
    assert new == old.replace("old", "new").replace("kept\n\n", "kept\n\n## three\n\nadded\n\n")


def test_the_frameworks_page_is_as_the_script_would_leave_it() -> None:
    """Renewed with nothing it does not change, and each section has a command and versions."""
    text = FRAMEWORKS.read_text(encoding="utf-8")
    assert pages.with_sections(text, {}) == text
    generated = text.partition(pages.FRAMEWORKS_MARK)[0]
    for section in generated.split("\n## ")[1:]:
        name = section.split("\n", 1)[0]
        assert f"`backnorm audit {name}" in section
        assert "Versions: python" in section


def test_frameworks_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that are installed without a name; those of other interpreters come last."""
    monkeypatch.setattr(pages, "is_installed", lambda name: name in {"torch", "jax"})
    elsewhere = "caffe=old/bin/python"
    assert pages.chosen_frameworks([]) == ["torch", "jax"]
    assert pages.chosen_frameworks([elsewhere]) == ["torch", "jax", elsewhere]
    assert pages.chosen_frameworks([elsewhere, "flax"]) == ["flax", elsewhere]


def test_no_layer_of_backnorm_has_a_finding() -> None:
    """In the full audits that the page shows."""
    lines = FRAMEWORKS.read_text(encoding="utf-8").splitlines()
    ours = [line for line in lines if line.startswith("| backnorm.")]
    assert len(ours) >= 24
    assert [line for line in ours if not line.endswith("| yes |")] == []


def test_the_times_under_jax_are_a_table(tmp_path: Path) -> None:
    """All shapes, a column for each peer that was there, and a mean for each layout."""
    rows = [
        BenchRow.of(
            SUITES["resnet50"][0], "jax", layout, "float32", 2,
            {"backnorm": 0.5, "copy (plain)": 0.1, "copy (streaming)": 0.1},
            {"jax.numpy": slower, "flax formula": 1.0},
        )
        for layout, slower in (("nchw", 2.0), ("nhwc", 0.5))
    ]  # fmt: skip
    record = tmp_path / "record.json"
    known = {"environment": {"jax": "1.2"}, "runs": 3, "rows": [asdict(row) for row in rows]}
    record.write_text(json.dumps(known))
    said, _, *table, _, aims, slower = _jax_times.tables(record)["jax"].splitlines()
    assert said.endswith("3 runs of `backnorm bench --op jax`, 2 threads, JAX 1.2:")
    assert table == [
        "| shape | channels | ms | Flax's formula | two passes |",
        "|---|---|---|---|---|",
        "| 32x64x112x112 | first | 500.00 | 2.0 | 4.0 |",
        "| 32x64x112x112 | last | 500.00 | 2.0 | 1.0 |",
        "| geometric mean | first | | 2.0 | 4.0 |",
        "| geometric mean | last | | 2.0 | 1.0 |",
    ]
    assert aims == (
        "Arrays of 10 MB and more, channels first and last, geometric means: 2.00 and 2.00 for "
        "Flax's formula (the aim: 2); 4.00 and 1.00 for two passes (the aim: 4). The least ratio "
        "is 1.00 (the aim: 1.5)."
    )
    assert slower == "No shape is slower than Flax."
    for row, seconds in zip(known["rows"], (0.45, 0.6), strict=True):
        row["peers"]["flax layer"] = seconds
    record.write_text(json.dumps(known))
    last = _jax_times.tables(record)["jax"].splitlines()[-1]
    assert last == "Slower than Flax, against the aim: 32x64x112x112, channels first (0.90)."
    assert _jax_times.tables(tmp_path / "none") == {}
