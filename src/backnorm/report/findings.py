"""The pages docs/findings.md and docs/audit-method.md, as far as they are made from tables."""

from __future__ import annotations

import inspect
import string
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from backnorm.audit import thresholds
from backnorm.audit.findings import FAMILIES
from backnorm.audit.probes import PROBES
from backnorm.audit.thresholds import Threshold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from backnorm.audit.findings.entry import Entry
    from backnorm.audit.findings.families import Family

__all__ = ["to_findings", "to_method_tables"]

INTRODUCTION: Final = """\
# Findings

Every code that an audit may give: what was found, what a right subject gives, likely causes with
the likeliest first, and what to do. [How an audit judges](audit-method.md) says what is measured.
This page is written from the audit's own catalog by `make pages`.
"""

PROBES_HEAD: Final = """
## All probes

P01 gives the verdict; `--quick` stops after it. A probe that cannot run is skipped, and says why.

"""

THRESHOLDS_HEAD: Final = """
## All thresholds

Every number that decides, with its reason and what was measured. "Rounding" is the largest error of
right float32 layers when x has a mean of 3 to 6 standard deviations, over 20 seeds.

"""

FIRST: Final = (
    "P01",
    "gradient",
    "Compare dx, dgamma and dbeta with the derivative of the forward pass, and dx with the paths.",
)


def to_findings() -> str:
    """Write the page of all findings.

    Returns
    -------
    str
        Markdown.
    """
    return "\n".join([INTRODUCTION, *(_family(family) for family in FAMILIES)])


def to_method_tables() -> str:
    """Write the tables of all probes and of all thresholds.

    Returns
    -------
    str
        Markdown.
    """
    probes = [(probe.code, probe.name, _first_sentence(probe.examine)) for probe in PROBES]
    return "".join(
        [
            PROBES_HEAD,
            _table(("code", "probe", "how"), [FIRST, *probes]),
            THRESHOLDS_HEAD,
            _table(("threshold", "value", "why"), _thresholds()),
        ]
    )


def _family(family: Family) -> str:
    listed = [(f"[{code}](#{code.lower()})", e.what) for code, e in family.entries.items()]
    parts = [
        f"## {family.title}",
        family.about,
        _table(("code", "what was found"), listed).rstrip(),
        *(_section(code, entry) for code, entry in family.entries.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _section(code: str, entry: Entry) -> str:
    letters = string.ascii_lowercase
    causes = [f"- ({letter}) {_plain(c)}" for letter, c in zip(letters, entry.causes, strict=False)]
    lines = [
        f"### {code}",
        "",
        _plain(entry.what),
        "",
        f"Expected: {_plain(entry.expected)}. Likely causes:",
        "",
        *causes,
        "",
        f"Remedy: {_plain(entry.remedy)}",
    ]
    return "\n".join(lines)


def _first_sentence(examine: object) -> str:
    return (inspect.getdoc(examine) or "").partition("\n\n")[0].replace("\n", " ")


def _thresholds() -> Iterator[tuple[str, str, str]]:
    """Yield name, value and reason of each threshold, in the order in which they are defined."""
    for name, value in vars(thresholds).items():
        if isinstance(value, Threshold):
            yield f"`{name}`", f"{value:g}", value.why
        elif name in thresholds.__all__ and isinstance(value, Mapping):
            for key, number in value.items():
                yield f"`{name}`, {key}", f"{number:g}", number.why


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _plain(text: str) -> str:
    """Escape the marks of Markdown outside of code; links stay."""
    pieces = text.split("`")
    for at in range(0, len(pieces), 2):
        for mark in "\\|*<":
            pieces[at] = pieces[at].replace(mark, "\\" + mark)
    return "`".join(pieces)
