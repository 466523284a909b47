"""Which cases of tests run where not all are asked for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


class Sample:
    """Of a test marked ``sampled(n)`` every n-th case, from the first on; none of ``thorough``.

    Of any other test every ``every``-th case.
    """

    def __init__(self, every: int = 1) -> None:
        """Begin before the first case."""
        self.every = every
        self.seen: Counter[str] = Counter()

    def takes(self, item: pytest.Item) -> bool:
        """Whether a case runs; to be asked of all cases in their order."""
        test, _, _ = item.nodeid.partition("[")
        number = self.seen[test]
        self.seen[test] += 1
        sampled = item.get_closest_marker("sampled")
        if item.get_closest_marker("thorough"):
            return False
        return number % max(self.every, sampled.args[0] if sampled else 1) == 0
