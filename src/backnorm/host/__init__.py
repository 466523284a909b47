"""What runs targets, also where backnorm is not: plain files for Python 3.6 and NumPy, no more.

`serve` is the file that a child process runs, `find` goes from the text of a target to an object,
`specs` from an object to what can be called. They import nothing of backnorm, and are imported by
it like any other module, so that a target is called in the same way in both places.
"""

from __future__ import annotations

__all__: list[str] = []
