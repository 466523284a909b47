"""Both languages of the page say the same; no browser is needed to compare them."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

from backnorm.errors import UnknownNameError
from backnorm.lab.page import page_html
from backnorm.lab.page.assemble import LANGUAGES, assemble

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = files("backnorm.lab.page")


def texts(language: str) -> dict[str, str]:
    """Return the table of a language, and refuse a key that stands there twice."""

    def once(pairs: list[tuple[str, str]]) -> dict[str, str]:
        assert len(pairs) == len(dict(pairs))
        return dict(pairs)

    path = HERE / "texts" / f"{language}.json"
    return dict(json.loads(path.read_text("utf-8"), object_pairs_hook=once))


TABLES = {language: texts(language) for language in LANGUAGES}
SAME = re.compile(r"\{\w+\}|<var>.*?</var>|<code>.*?</code>|(?<!\w)\d+(?:\.\d+)?|[√∑∂]")


def test_both_languages_have_the_same_keys() -> None:
    """In the same order."""
    assert list(TABLES["en"]) == list(TABLES["zh"])


@pytest.mark.parametrize("key", TABLES["en"])
def test_a_text_has_the_same_numbers_and_formulas(key: str) -> None:
    """Symbols, numbers, code and places for numbers, in whatever order the languages have them."""
    said = {name: set(SAME.findall(table[key])) for name, table in TABLES.items()}
    assert said["en"] == said["zh"]


def used() -> Iterator[str]:
    """Yield the keys that markup and scripts name; a part in braces stands for any word."""
    for folder in ("parts", "script"):
        for path in (HERE / folder).iterdir():
            source = path.read_text("utf-8")
            yield from re.findall(r'data-(?:text|label)="([\w.]+)"', source)
            yield from re.findall(r'["`]([a-z_]+(?:\.(?:\w|\$\{[\w.]+\})+)+)["`]', source)
    yield from re.findall(r'data-(?:text|label)="([\w.]+)"', (HERE / "page.html").read_text())


def test_every_text_is_used() -> None:
    """By its key, or by a pattern of keys."""
    patterns = [re.sub(r"\\\$\\\{[^}]*\\\}", r"[\\w.]+", re.escape(name)) for name in set(used())]
    whole = re.compile("|".join(patterns))
    own = re.compile(r"language|between|value|error|through|quiz\.\d(\.[abc])?(\.why)?")
    assert [k for k in TABLES["en"] if not whole.fullmatch(k) and not own.fullmatch(k)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_names_no_address(experiment: dict[str, Any], language: str) -> None:
    """Nothing is fetched: no address stands in it but that of the drawings' vocabulary."""
    page = assemble(language, experiment)
    addresses = set(re.findall(r"\b(?:https?:)?//[\w.]+[^\s\"'`)]*", page))
    assert {a for a in addresses if a.startswith("http")} == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bsrc=|@import|url\(|\bfetch\(|\bimport ", page)
    assert f'<html lang="{TABLES[language]["language"]}">' in page
    assert f'<h1 data-text="heading">{TABLES[language]["heading"]}</h1>' in page


def test_the_page_links_back_only_where_there_is_documentation(experiment: dict[str, Any]) -> None:
    """A page that was sent to somebody has no link that leads nowhere."""
    assert '<a class="back" href="lab.html" data-text="back">' in page_html(
        documentation="lab.html"
    )
    assert '<a class="back" hidden data-text="back">' in assemble("en", experiment)


def test_a_language_that_is_not_there_is_refused() -> None:
    """With the languages that are."""
    with pytest.raises(UnknownNameError, match="language must be one of 'en', 'zh', got 'fr'"):
        page_html("fr")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_with_the_whole_recording_is_below_500_kb(language: str) -> None:
    """The page that the command writes."""
    assert len(page_html(language).encode()) < 500_000
