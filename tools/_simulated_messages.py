"""Messages that come late, twice or never, and the random trees over which ranks add them."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

__all__ = ["NONE", "USUAL", "Adding", "Faults", "Network", "Tree", "random_tree"]

TWICE, LOST, LATE = 0.003, 0.003, 0.05
"""Shares of messages that arrive twice, never, and with a large delay."""

DELAY, LARGE_DELAY, RETRY = 1.0, 50.0, 5.0
"""Means of usual and of large delays, and when a message is sent again. All in hops."""


class Faults(NamedTuple):
    """Shares of messages; see `TWICE`, `LOST` and `LATE`."""

    twice: float = TWICE
    lost: float = LOST
    late: float = LATE


USUAL, NONE = Faults(), Faults(0, 0, 0)


@dataclass
class Tree:
    """Who sends to whom.

    Attributes
    ----------
    parent
        Of each rank; -1 for the root.
    children
        Of each rank, how many.
    depth
        Hops of the longest way from a rank to the root.
    """

    parent: list[int]
    children: list[int]
    depth: int


def random_tree(ranks: int, rng: np.random.Generator) -> Tree:
    """Cut the ranks in two at random, so that no way is longer than ceil(log2(ranks))."""
    order = rng.permutation(ranks).tolist()
    parent, children, deepest = [-1] * ranks, [0] * ranks, 0
    waiting = [(0, ranks, max(ranks - 1, 0).bit_length(), 0)]
    while waiting:
        begin, end, left, hops = waiting.pop()
        deepest = max(deepest, hops)
        if end - begin < 2:  # noqa: PLR2004 - one rank is no pair
            continue
        most = 1 << (left - 1)
        cut = int(rng.integers(max(end - most, begin + 1), min(begin + most, end - 1) + 1))
        # The first rank of the second half sends to the first rank of the first half.
        parent[order[cut]] = order[begin]
        children[order[begin]] += 1
        waiting += [(begin, cut, left - 1, hops), (cut, end, left - 1, hops + 1)]
    return Tree(parent, children, deepest)


@dataclass
class Traffic:
    """What was sent.

    Attributes
    ----------
    messages
        How many, those that were sent again included.
    ignored
        How many arrived that were known, or of another step.
    """

    messages: int = 0
    ignored: int = 0


@dataclass
class Network:
    """Messages under way, in the order in which they arrive.

    Attributes
    ----------
    rng, faults
        What happens to them.
    traffic
        What was sent.
    queue
        Time, number, receiver, sender, step, content.
    """

    rng: np.random.Generator
    faults: Faults
    traffic: Traffic = field(default_factory=Traffic)
    queue: list[tuple[float, int, int, int, int, Any]] = field(default_factory=list)

    def send(self, now: float, receiver: int, sender: int, step: int, content: Any) -> None:
        """Send a message until it has not been lost, and sometimes twice."""
        while self.rng.random() < self.faults.lost:
            self.traffic.messages += 1
            now += RETRY
        copies = 2 if self.rng.random() < self.faults.twice else 1
        for copy in range(copies):
            # The second of two may come long after the step is over.
            late = copy > 0 or self.rng.random() < self.faults.late
            delay = self.rng.exponential(LARGE_DELAY if late else DELAY)
            self.traffic.messages += 1
            entry = (now + delay, self.traffic.messages, receiver, sender, step, content)
            heapq.heappush(self.queue, entry)


class Adding:
    """One step: rows are added up a tree, and the total is handed down.

    Without `told_apart` a rank takes whatever it is sent.
    """

    def __init__(
        self, tree: Tree, own: np.ndarray, step: int, network: Network, *, told_apart: bool = True
    ) -> None:
        self.tree, self.step, self.network, self.told_apart = tree, step, network, told_apart
        self.sums, self.missing = own.copy(), list(tree.children)
        self.taken: set[tuple[int, int]] = set()
        self.below: list[list[int]] = [[] for _ in own]
        for rank, parent in enumerate(tree.parent):
            if parent >= 0:
                self.below[parent].append(rank)
        self.root, self.informed = tree.parent.index(-1), 0

    def total(self) -> np.ndarray:
        """Let all ranks send until each has the total, and return it.

        Messages of earlier steps that are still under way arrive now.
        """
        for rank, missing in enumerate(self.tree.children):
            if missing == 0:
                self._finish(rank, 0.0)
        queue = self.network.queue
        while self.informed < len(self.sums) and queue:
            now, _, receiver, sender, of_step, content = heapq.heappop(queue)
            if self.told_apart and (of_step != self.step or (receiver, sender) in self.taken):
                self.network.traffic.ignored += 1
            else:
                self.taken.add((receiver, sender))
                self._receive(receiver, content, now)
        # What is still under way belongs to the past when the next step begins.
        self.network.queue = [(0.0, *entry[1:]) for entry in queue]
        heapq.heapify(self.network.queue)
        return self.sums[self.root]

    def _receive(self, rank: int, content: np.ndarray | None, now: float) -> None:
        if content is None:
            self._inform(rank, now)
            return
        self.sums[rank] += content
        self.missing[rank] -= 1
        if self.missing[rank] == 0:
            self._finish(rank, now)

    def _finish(self, rank: int, now: float) -> None:
        """Send the sum up, once all children have sent theirs."""
        if rank == self.root:
            self._inform(rank, now)
        else:
            content = self.sums[rank].copy()
            self.network.send(now, self.tree.parent[rank], rank, self.step, content)

    def _inform(self, rank: int, now: float) -> None:
        """Hand the total down, of which no value is needed here."""
        self.informed += 1
        for child in self.below[rank]:
            self.network.send(now, child, rank, self.step, None)
