"""Findings and probes in words, for docs/findings.md, docs/audit-method.md and a terminal."""

from __future__ import annotations

import inspect
import re
import string
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backnorm.audit import thresholds
from backnorm.audit.findings import FAMILIES
from backnorm.audit.probes import FILE_PROBE, PROBES
from backnorm.audit.ranks.probes import RANK_PROBES
from backnorm.audit.thresholds import Threshold
from backnorm.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from backnorm.audit.findings.entry import Entry
    from backnorm.audit.findings.families import Family

__all__ = ["ENGLISH", "Words", "to_explanation", "to_findings", "to_list", "to_method_tables"]

LINK: Final = re.compile(r"\[(?P<words>[^]]+)\]\((?P<page>[^)]+)\)")
"""A link of Markdown."""


@dataclass(frozen=True, slots=True)
class Words:
    """What the page of findings says beside the families and their entries.

    Attributes
    ----------
    introduction
        Markdown in front of the first family, with the page's heading.
    head
        The heads of the two columns of a family's table.
    expected
        A line with ``{}`` in the place of what a right subject gives.
    remedy
        A line with ``{}`` in the place of what to do.
    """

    introduction: str
    head: tuple[str, str]
    expected: str
    remedy: str


ENGLISH: Final = Words(
    introduction="""\
# Findings

[中文](zh/findings.md)

Every code that an audit may give: what was found, what a right subject gives, likely causes with
the likeliest first, and what to do. [How an audit judges](audit-method.md) says what is measured.
This page is written from the audit's own catalog by `make pages`.
""",
    head=("code", "what was found"),
    expected="Expected: {}. Likely causes:",
    remedy="Remedy: {}",
)

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
    (
        "Compare dx, dgamma and dbeta with the derivative of the forward pass, and dx with the "
        "paths. Compare the gradients of other parameters that train along a random direction."
    ),
)


def to_findings(families: Sequence[Family] = FAMILIES, words: Words = ENGLISH) -> str:
    """Write the page of all findings.

    Parameters
    ----------
    families
        The families and their entries, in English or translated.
    words
        The other words of the page, in the same language.

    Returns
    -------
    str
        Markdown.
    """
    return "\n".join([words.introduction, *(_family(family, words) for family in families)])


def to_explanation(code: str, *, width: int = 92) -> str:
    """Write what the code of a finding or of a probe means.

    Parameters
    ----------
    code
        The code, such as G01 or P01, in upper or lower case.
    width
        Columns to fill at most.

    Returns
    -------
    str
        Text for a terminal: what docs/findings.md says of the finding and of its family, or what
        docs/audit-method.md says of the probe.

    Raises
    ------
    UnknownNameError
        If neither a finding nor a probe has the code.
    """
    wanted = code.strip().upper()
    for family in FAMILIES:
        if wanted in family.entries:
            return _explained(wanted, family.entries[wanted], family, width)
    probes = {key: (name, how) for key, name, how in _probes()}
    if wanted not in probes:
        codes = [code for family in FAMILIES for code in family.entries]
        raise UnknownNameError.finding(code, [*codes, *probes])
    name, how = probes[wanted]
    return _paragraph(f"{wanted}  ", f"Probe {name}: {how}", width)


def to_list(*, width: int = 92) -> str:
    """Write every finding in a line or two, by families."""
    parts = []
    for family in FAMILIES:
        found = (_paragraph(f"{c}  ", e.what, width) for c, e in family.entries.items())
        parts.append(f"{family.title}\n{''.join(found)}")
    return "\n".join(parts)


def _explained(code: str, entry: Entry, family: Family, width: int) -> str:
    letters = zip(string.ascii_lowercase, entry.causes, strict=False)
    about = LINK.sub(r"\g<words> (docs/\g<page>)", family.about)
    parts = [
        _paragraph(f"{code}  ", entry.what, width),
        _paragraph("", f"{family.title}. {about}", width),
        _paragraph("expected   ", entry.expected, width),
        *(_paragraph(f"cause ({letter})  ", cause, width) for letter, cause in letters),
        _paragraph("remedy     ", entry.remedy, width),
    ]
    first, second, *others = parts
    return f"{first}\n{second}\n{''.join(others)}"


def _paragraph(label: str, text: str, width: int) -> str:
    indent = " " * len(label)
    return textwrap.fill(text, width, initial_indent=label, subsequent_indent=indent) + "\n"


def _probes() -> list[tuple[str, str, str]]:
    """Return code and name of each probe, and how it measures."""
    probes = [(one.code, one.name, _first_sentence(one.examine)) for one in (*PROBES, FILE_PROBE)]
    probes += [(one.code, one.name, _first_sentence(one.examine)) for one in RANK_PROBES]
    return [FIRST, *sorted(probes)]


def to_method_tables() -> str:
    """Write the tables of all probes and of all thresholds.

    Returns
    -------
    str
        Markdown.
    """
    return "".join(
        [
            PROBES_HEAD,
            _table(("code", "probe", "how"), _probes()),
            THRESHOLDS_HEAD,
            _table(("threshold", "value", "why"), _thresholds()),
        ]
    )


def _family(family: Family, words: Words) -> str:
    listed = [(f"[{code}](#{code.lower()})", e.what) for code, e in family.entries.items()]
    parts = [
        f"## {family.title}",
        family.about,
        _table(words.head, listed).rstrip(),
        *(_section(code, entry, words) for code, entry in family.entries.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _section(code: str, entry: Entry, words: Words) -> str:
    letters = string.ascii_lowercase
    causes = [f"- ({letter}) {_plain(c)}" for letter, c in zip(letters, entry.causes, strict=False)]
    lines = [
        f"### {code}",
        "",
        _plain(entry.what),
        "",
        words.expected.format(_plain(entry.expected)),
        "",
        *causes,
        "",
        words.remedy.format(_plain(entry.remedy)),
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
