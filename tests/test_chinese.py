"""A Chinese page has the headings, figures, formulas, code and numbers of its English page."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backnorm.audit.findings import CATALOG, FAMILIES

ROOT = Path(__file__).parents[1]
CHINESE = [ROOT / "README.zh.md", *sorted((ROOT / "docs" / "zh").glob("*.md"))]
"""The Chinese pages; `english` says where the English page of each is."""

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"\s*(?<!\S)#.*$", re.MULTILINE)
HEADING = re.compile(r"^(#+) ", re.MULTILINE)
LINK = re.compile(r"(?P<figure>!?)\[[^]]*\]\((?P<target>[^)]+)\)")
FORMULA = re.compile(r"\$\$.*?\$\$|\$.*?\$", re.DOTALL)
WORDS_IN_FORMULA = re.compile(r"\\text\{[^}]*\}")
CODE = re.compile(r"``.*?``|`.*?`", re.DOTALL)
NUMBER = re.compile(r"\d+(?:\.\d+)*(?:e-?\d+)?")
ROW = re.compile(r"^(?:\||- |\d+\. )", re.MULTILINE)
HAN = re.compile("[\u4e00-\u9fff]")


@dataclass
class Section:
    """What stands between two headings, without the words."""

    level: int
    figures: list[str] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    links: Counter[str] = field(default_factory=Counter)
    formulas: Counter[str] = field(default_factory=Counter)
    code: Counter[str] = field(default_factory=Counter)
    numbers: Counter[str] = field(default_factory=Counter)
    rows: int = 0


def english(chinese: Path) -> Path:
    """Return the English page of a Chinese page."""
    if chinese.parent == ROOT:
        return ROOT / chinese.name.replace(".zh", "")
    return ROOT / "docs" / chinese.name


def sections(page: Path) -> list[Section]:
    """Return the sections of a page; the link to the other language is left out."""
    blocks: list[tuple[str, str]] = []

    def put_aside(match: re.Match[str]) -> str:
        blocks.append((match[1], match[2]))
        return f"\0{len(blocks) - 1}\0"

    text = BLOCK.sub(put_aside, page.read_text(encoding="utf-8"))
    _, *parts = HEADING.split(text)
    return [
        section(len(level), part, blocks)
        for level, part in zip(parts[::2], parts[1::2], strict=True)
    ]


def section(level: int, text: str, blocks: list[tuple[str, str]]) -> Section:
    """Take a section apart: what is found is cut out, so that a number is counted once."""
    found = Section(level, rows=len(ROW.findall(text)))

    def block(match: re.Match[str]) -> str:
        language, code = blocks[int(match[1])]
        found.blocks.append(code if language == "text" else COMMENT.sub("", code))
        return ""

    def formula(match: re.Match[str]) -> str:
        found.formulas["".join(WORDS_IN_FORMULA.sub("", match[0]).split())] += 1
        return ""

    def code(match: re.Match[str]) -> str:
        found.code[" ".join(match[0].split())] += 1
        return ""

    def link(match: re.Match[str]) -> str:
        name = Path(match["target"].partition("#")[0]).name.replace(".zh.", ".")
        if match["figure"]:
            found.figures.append(name)
        else:
            found.links[name] += 1
        return match[0].partition("](")[0]

    text = re.sub("\0(\\d+)\0", block, text)
    text = FORMULA.sub(formula, CODE.sub(code, text))
    found.numbers = Counter(NUMBER.findall(LINK.sub(link, text)))
    return found


@pytest.mark.parametrize("chinese", CHINESE, ids=lambda page: page.name)
def test_a_chinese_page_agrees_with_its_english_page(chinese: Path) -> None:
    """Section by section; only the words and the comments in code differ."""
    ours, theirs = sections(chinese), sections(english(chinese))
    assert [part.level for part in ours] == [part.level for part in theirs]
    for number, (here, there) in enumerate(zip(ours, theirs, strict=True)):
        for what, found in vars(here).items():
            assert (number, what, found) == (number, what, vars(there)[what])


@pytest.mark.parametrize("chinese", CHINESE, ids=lambda page: page.name)
def test_both_versions_link_to_each_other(chinese: Path) -> None:
    """In the first lines, where a reader looks for the language."""
    for page, words in ((chinese, "English"), (english(chinese), "中文")):
        head = "".join(page.read_text(encoding="utf-8").partition("\n## ")[0][:300])
        target = re.search(rf"\[{words}\]\(([^)]+)\)", head)
        assert target is not None, page
        other = english(chinese) if page == chinese else chinese
        assert (page.parent / target[1]).resolve() == other


@pytest.mark.parametrize("chinese", CHINESE, ids=lambda page: page.name)
def test_every_paragraph_is_translated(chinese: Path) -> None:
    """A paragraph of words that has no Chinese character was forgotten."""
    text = BLOCK.sub("", chinese.read_text(encoding="utf-8"))
    text = CODE.sub("", FORMULA.sub("", LINK.sub("", text)))
    for paragraph in re.split(r"\n\s*\n", text):
        words = re.findall(r"[A-Za-z]{3,}", paragraph)
        assert len(words) < 4 or HAN.search(paragraph), paragraph


def test_every_finding_has_its_chinese_words() -> None:
    """A new code needs them; `make pages` writes them into docs/zh/findings.md."""
    told = json.loads((ROOT / "docs" / "zh" / "findings.json").read_text(encoding="utf-8"))
    assert list(told["families"]) == [family.title for family in FAMILIES]
    assert list(told["findings"]) == list(CATALOG)
    for code, entry in CATALOG.items():
        words = told["findings"][code]
        assert len(words["causes"]) == len(entry.causes), code
        assert HAN.search(words["what"]), code
        assert HAN.search(words["remedy"]), code
