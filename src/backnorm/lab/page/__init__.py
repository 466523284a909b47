"""The explorable page of the lab: one HTML file without a request to anywhere.

``page.html`` is the frame, ``parts/`` has the markup of the eight parts in their order, ``texts/``
all words (one table a language, with the same keys), and ``script/`` what makes the page move. All
numbers of the page come from ``script/arithmetic.js`` and from the recorded experiment.
"""

from __future__ import annotations

from backnorm.lab.page.assemble import page_html

__all__ = ["page_html"]
