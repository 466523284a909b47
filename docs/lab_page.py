"""Adds the explorable page of the lab to the site, as `backnorm lab --html` writes it."""

from __future__ import annotations

from typing import Any

from mkdocs.structure.files import File

from backnorm.lab.page import page_html

PAGES = {"explore.html": "en", "zh/explore.html": "zh"}
"""Where the page is, and the language that it opens in."""


def on_files(files: Any, config: Any) -> Any:
    """Write the page beside the others; docs/lab.md and docs/zh/lab.md link to it."""
    for page, language in PAGES.items():
        content = page_html(language, documentation="lab.html")
        files.append(File.generated(config, page, content=content))
    return files
