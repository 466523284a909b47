"""Which calls of layers give x a gradient by another route than y.

A layer may return its statistics or x itself, keep statistics for a later layer, or have a hook
that takes a loss of x. Then the gradient that arrives at x is not that of y alone.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

from torch.autograd.graph import get_gradient_edge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch
    from torch.autograd.graph import GradientEdge, Node

__all__ = ["Routes"]

Users: TypeAlias = "dict[Node, list[tuple[Node | None, int]]]"
"""Which nodes receive which output of each node; None stands for the backward pass itself."""


class Routes:
    """The graph of autograd from the outputs of a model to the inputs of its layers.

    Parameters
    ----------
    outputs
        The tensors that the backward pass starts from.
    """

    __slots__ = ("_users",)

    def __init__(self, outputs: Sequence[torch.Tensor]) -> None:
        self._users: Users = defaultdict(list)
        waiting: list[Node] = []
        for edge in map(get_gradient_edge, outputs):
            self._users[edge.node].append((None, edge.output_nr))
            waiting.append(edge.node)
        known = set(waiting)
        while waiting:
            node = waiting.pop()
            for inner, number in _inputs_of(node):
                self._users[inner].append((node, number))
                if inner not in known:
                    known.add(inner)
                    waiting.append(inner)

    def pass_by(self, x: GradientEdge, y: GradientEdge) -> bool:
        """Whether a path from the outputs to the x of a call does not pass its y.

        Parameters
        ----------
        x, y
            Where x and y are in the graph.
        """
        waiting, known = [x.node], {x.node}
        while waiting:
            node = waiting.pop()
            for user, number in self._users.get(node, ()):
                if node is y.node and number == y.output_nr:
                    continue
                if user is None:
                    return True
                if user not in known:
                    known.add(user)
                    waiting.append(user)
        return False


def _inputs_of(node: Node) -> Iterator[tuple[Node, int]]:
    for inner, number in node.next_functions:
        if inner is not None:
            yield inner, number
