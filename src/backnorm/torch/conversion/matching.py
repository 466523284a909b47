"""The nodes of a graph that one call computes: a normalization, a sum, an activation."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import fx, nn

from backnorm.torch.conversion import activations, hooks, layers, stand_ins

if TYPE_CHECKING:
    from backnorm.torch.conversion.activations import Act

__all__ = ["Match", "called", "match", "odd_call"]

ADDS: Final = (operator.add, stand_ins.iadd, torch.add)
FRESH: Final = (*ADDS, operator.sub, operator.mul, operator.truediv, torch.cat)
"""Functions whose result is never a view of an operand."""


def called(module: nn.Module, node: fx.Node) -> nn.Module | None:
    """Return the module that a node calls; None if it calls something else."""
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


@dataclass(frozen=True)
class Match:
    """A normalization in a graph, and the nodes that can be fused with it.

    Attributes
    ----------
    nodes
        The normalization; the sum, if there is one; the activation, if one is fused; and every
        Identity between them.
    between
        Names of the Identities before and after the sum.
    residual
        The other operand of the sum; None without a sum.
    act
        The activation; None if nothing is fused.
    why
        Why nothing is fused; "" otherwise.
    sum_in_place
        Whether the sum is written to the output of the normalization.
    """

    nodes: tuple[fx.Node, ...]
    between: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    residual: Any = None
    act: Act | None = None
    why: str = ""
    sum_in_place: bool = False


def match(module: nn.Module, norm: fx.Node, *, acts: bool) -> Match:
    """Match a normalization, a sum if there is one, and an activation.

    Each node's output may be read by the next node only: the fused call never computes it.
    """
    if not acts:
        return Match((norm,))
    before, following = _identities(module, norm)
    pattern, residual, in_place = [norm, *before], None, False
    after: list[fx.Node] = []
    if following is not None and _is_sum(following, pattern[-1]):
        residual = next(x for x in following.args if x is not pattern[-1])
        in_place = following.target in (stand_ins.iadd, "add_")
        after, then = _identities(module, following)
        pattern += [following, *after]
        following = then
    act = None if following is None else _activation(module, following, pattern[-1])
    if following is None or act is None:
        return Match((norm,), why="no activation follows, or its output is used elsewhere")
    why = _disturbed(module, norm, following, pattern) or _changed(module, following, act)
    if why:
        return Match((norm,), why=why)
    between = (_targets(before), _targets(after))
    return Match((*pattern, following), between, residual, act, sum_in_place=in_place)


def _targets(nodes: list[fx.Node]) -> tuple[str, ...]:
    return tuple(str(node.target) for node in nodes)


def _identities(module: nn.Module, node: fx.Node) -> tuple[list[fx.Node], fx.Node | None]:
    """Return the calls of Identity that follow a node, and the only user after them."""
    found: list[fx.Node] = []
    following = _only_user(node)
    while following is not None and hooks.is_identity(called(module, following)):
        found.append(following)
        following = _only_user(following)
    return found, following


def _only_user(node: fx.Node) -> fx.Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 else None


def _is_sum(node: fx.Node, norm: fx.Node) -> bool:
    """Whether a node adds another tensor to a normalization's output without changing the other."""
    if node.kwargs or len(node.args) != 2 or node.args[0] is node.args[1]:  # noqa: PLR2004 - a sum
        return False
    if not all(isinstance(x, fx.Node) for x in node.args):
        return False
    first = node.args[0] is norm
    if node.op == "call_method":
        return node.target == "add" or (node.target == "add_" and first)
    return node.op == "call_function" and (
        node.target in ADDS and (node.target is not stand_ins.iadd or first)
    )


def _activation(module: nn.Module, node: fx.Node, x: fx.Node) -> Act | None:
    """Return the activation that a node computes of x; None if the engine cannot compute it."""
    if not node.args or node.args[0] is not x:
        return None
    if node.op == "call_module":
        alone = len(node.args) == 1 and not node.kwargs
        return activations.of_module(called(module, node)) if alone else None
    return activations.of_call(node.target, node.args[1:], node.kwargs)


def _disturbed(module: nn.Module, norm: fx.Node, last: fx.Node, pattern: list[fx.Node]) -> str:
    """Return why normalizing cannot wait until the activation is computed; "" if it can.

    The fused call stands where the activation was. So every tensor that it reads must still have
    its value there: no node between may touch one of them, or write to any tensor, which may be a
    view of one.
    """
    why = odd_call(module, norm)
    if why:
        return why
    node, read = norm.next, {norm.args[0]}
    while node is not last:
        if node in pattern:
            read |= {x for x in node.args if isinstance(x, fx.Node) and x is not norm}
        elif not read.isdisjoint(node.all_input_nodes) or _changes(module, node):
            return "its input may be changed before the activation"
        node = node.next
    return ""


def _changed(module: nn.Module, last: fx.Node, act: Act) -> str:
    """Return why an activation must not keep its output for backward; "" if it may.

    A fused activation keeps its output, so autograd raises if somebody writes there. Stock relu and
    activations in place keep theirs as well. Stock relu6 and leaky_relu keep their input, and then
    a forward may write to their output, or to a view of it.
    """
    if activations.SPELLINGS[act.name].keeps_output or _changes(module, last):
        return ""
    seen, reached = set(), [last]
    while reached:
        value = reached.pop()
        for user in value.users:
            if _changes(module, user) and (not user.args or user.args[0] is value):
                return f"its output is changed, which {act.name} allows and the fused one does not"
            if user not in seen and _may_be_view(user):
                seen.add(user)
                reached.append(user)
    return ""


def _may_be_view(node: fx.Node) -> bool:
    return node.op == "call_method" or (node.op == "call_function" and node.target not in FRESH)


def odd_call(module: nn.Module, norm: fx.Node) -> str:
    """Return why the call of a normalization cannot be replaced; "" if it can."""
    if hooks.has_hooks(module.get_submodule(str(norm.target))):
        return "it has hooks"
    if len(norm.args) != 1 or norm.kwargs or not isinstance(norm.args[0], fx.Node):
        return "it is not called with one tensor"
    return ""


def _changes(module: nn.Module, node: fx.Node) -> bool:
    """Whether a node writes to a tensor, by its name or its argument inplace."""
    if node.op == "call_module":
        return layers.writes(called(module, node))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    writes = (
        name.endswith("_") or name == "setitem" or (name[:1] == "i" and hasattr(operator, name))
    )
    return node.op.startswith("call") and (writes or bool(node.kwargs.get("inplace", False)))
