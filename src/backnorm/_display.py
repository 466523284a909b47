"""Results that show themselves in a terminal and in a notebook.

What writes them is `backnorm.report.display`, which knows all of them and stands above them. It is
loaded by its name when something is shown: `import backnorm` does not load it.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

__all__ = ["Displayed"]

WRITER: Final = "backnorm.report.display"


class Displayed:
    """A result that shows itself: a line as its repr, a table as its str and in a notebook."""

    __slots__ = ()

    def __repr__(self) -> str:
        return self._written("to_line")

    def __str__(self) -> str:
        return self._written("to_lines")

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        return self._written("to_fragment")

    def _written(self, function: str) -> str:
        write: Any = getattr(importlib.import_module(WRITER), function)
        written: str = write(self)
        return written
