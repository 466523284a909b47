"""Names the parts of a page that the theme leaves without a name, for those who hear a page.

The theme labels the menu of a section by an element that has an icon and no text, and its search is
a dialog without a name.
"""

from __future__ import annotations

import re
from typing import Any

TITLE = re.compile(r'<label class="md-nav__title" for="([^"]+)">(.*?)</label>', re.DOTALL)
MARKUP = re.compile(r"<[^>]*>|\s+")
LABELLED = re.compile(r'aria-labelledby="([^"]+)_label"')
DIALOG = 'data-md-component="search" role="dialog"'


def with_names(output: str) -> str:
    """Return a page in which each menu has the name of its section, and the search a name."""
    titles = {
        name: re.sub(r" +", " ", MARKUP.sub(" ", text)).strip()
        for name, text in TITLE.findall(output)
    }

    def named(match: re.Match[str]) -> str:
        title = titles.get(match[1])
        return f'aria-label="{title}"' if title else match[0]

    return LABELLED.sub(named, output).replace(DIALOG, f'{DIALOG} aria-label="Search"')


def on_post_page(output: str, **_: Any) -> str:
    """Name the parts of a page; called by the site generator when the page is whole."""
    return with_names(output)
