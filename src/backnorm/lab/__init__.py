"""The lab: one gradient with all its terms, and what training does when a term is left out.

`arithmetic` has the numbers of a small batch, and `screen` shows them. `experiment` trains the
networks of a `grid`, `recording` keeps what was measured, `summary` and `figures` show it. `page`
is the page to touch.
"""

from __future__ import annotations

__all__: list[str] = []
