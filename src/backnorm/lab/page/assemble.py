"""Put the files of the page together."""

from __future__ import annotations

import json
import re
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from backnorm.errors import UnknownNameError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["LANGUAGES", "assemble", "page_html"]

LANGUAGES: Final = ("en", "zh")

HERE: Final = files("backnorm.lab.page")

SCRIPTS: Final = (
    "arithmetic",
    "training_summary",
    "texts",
    "elements",
    "batch",
    "vote",
    "line",
    "pull",
    "graph",
    "jacobian",
    "forms",
    "curves",
    "training",
    "traps",
    "quiz",
    "start",
)
"""In this order: a script uses the names of those before it."""

SLOT: Final = re.compile(r'(data-text="([\w.]+)"[^>]*>)(?=</)')
"""An empty element that says which text belongs in it."""

LABEL: Final = re.compile(r'data-label="([\w.]+)"')
"""An element whose accessible name is a text."""


def page_html(language: str = "en", documentation: str | None = None) -> str:
    """Return the page as one HTML document.

    It holds the texts of both languages and has a switch.

    Parameters
    ----------
    language
        The language that the page opens in, "en" or "zh".
    documentation
        The address of a page that it links back to; None for a page that is alone.

    Returns
    -------
    str
        The document, below 500 KB.

    Raises
    ------
    UnknownNameError
        The page does not have the language.

    Examples
    --------
    >>> from backnorm.lab.page import page_html
    >>> page_html("zh").splitlines()[1]
    '<html lang="zh-Hans">'
    """
    if language not in LANGUAGES:
        raise UnknownNameError.choice("language", language, LANGUAGES)
    recorded = files("backnorm.lab") / "experiment.json"
    return assemble(language, json.loads(recorded.read_text("utf-8")), documentation)


def assemble(language: str, experiment: dict[str, Any], documentation: str | None = None) -> str:
    """Return the page with a recorded experiment."""
    texts = {name: json.loads(_read(HERE / "texts" / f"{name}.json")) for name in LANGUAGES}
    ordered = sorted((HERE / "parts").iterdir(), key=lambda part: part.name)
    contents = {
        "language": texts[language]["language"],
        "documentation": f'href="{escape(documentation)}"' if documentation else "hidden",
        "style": _read(HERE / "style.css"),
        "parts": "".join(map(_read, ordered)),
        "script": "\n".join(_read(HERE / "script" / f"{name}.js") for name in SCRIPTS),
        "texts": _data(texts),
        "experiment": _data(experiment),
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda slot: contents[slot[1]], _read(HERE / "page.html"))
    return _worded(page, texts[language])


def _worded(page: str, words: dict[str, str]) -> str:
    """Fill in the texts, so that the page can be read without its scripts."""
    page = SLOT.sub(lambda slot: slot[1] + words[slot[2]], page)
    return LABEL.sub(lambda slot: f'{slot[0]} aria-label="{words[slot[1]]}"', page)


def _read(path: Traversable) -> str:
    return path.read_text("utf-8")


def _data(value: object) -> str:
    """Return JSON that can stand inside a script element: no "<" can end the element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
