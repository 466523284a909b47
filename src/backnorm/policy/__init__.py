"""Which findings of an audit count: accepted ones, a baseline, and [tool.backnorm] of a project.

Findings that do not count stay in the record, with the reason. What was not judged stays so.
"""

from __future__ import annotations

__all__: list[str] = []
