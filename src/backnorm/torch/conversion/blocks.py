"""Fuses in the forward of a module of any class: normalization, sum and activation become one call.

The forward becomes a graph (`tracing`), the graph is rewritten here, and the module gets a
generated subclass of its class. The subclass's forward runs the generated code as long as the
attributes that were read while tracing have the same values. Otherwise it runs the original
forward, which is still right: the children of the module stay what they are, also for whoever
calls them one by one, and only the generated call asks for an activation (`calls.run`).
"""

from __future__ import annotations

import operator
from collections import Counter
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import fx, nn

from backnorm.torch.conversion import (
    activations,
    calls,
    generated,
    hooks,
    layers,
    overwriting,
    stand_ins,
)
from backnorm.torch.conversion.layers import FusionResult
from backnorm.torch.conversion.tracing import trace

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from backnorm.torch.conversion.activations import Act

__all__ = ["fuse", "restore"]

PLAN: Final = "_backnorm_plan"
"""Attribute of a module with a fused forward."""

ADDS: Final = (operator.add, stand_ins.iadd, torch.add)
FRESH: Final = (*ADDS, operator.sub, operator.mul, operator.truediv, torch.cat)
"""Functions whose result is never a view of an operand."""


@dataclass(frozen=True)
class FusedForward:
    """A fused forward: its code, and the values under which it is right."""

    source: str
    names: Mapping[str, Any]
    imports: Mapping[str, str]
    values: Mapping[str, Any]
    present: tuple[str, ...]
    children: tuple[str, ...] | None = None
    forward: Callable[..., Any] = field(init=False, compare=False, repr=False)
    """The function that the code defines; made here, since torch.compile cannot trace exec."""

    def holds(self, module: nn.Module, arguments: tuple[Any, ...]) -> bool:
        """Whether the generated code computes what the original forward would."""
        return (
            all(type(x) is torch.Tensor for x in arguments)
            and not hooks.hears_every_call()
            and self.children in (None, tuple(vars(module)["_modules"]))
            and all(getattr(module, name, None) is not None for name in self.present)
            and all(getattr(module, name, None) == value for name, value in self.values.items())
        )

    def __post_init__(self) -> None:
        modules = {name: import_module(module) for name, module in self.imports.items()}
        names = {**self.names, **modules}
        exec(self.source, names)  # noqa: S102 - written by torch.fx from the graph
        object.__setattr__(self, "forward", names["forward"])

    def __deepcopy__(self, memo: Any) -> FusedForward:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self.source, self.names, self.imports, self.values, self.present, self.children)
        return (FusedForward, parts)


@generated.recipe("fused")
def _members(base: Any) -> dict[str, Any]:
    def _forward(self: nn.Module, *arguments: Any, **keywords: Any) -> Any:
        # A slice of a Sequential has its class, and no plan.
        plan = vars(self).get(PLAN)
        if plan is None or keywords or not plan.holds(self, arguments):
            return base.forward(self, *arguments, **keywords)
        return plan.forward(self, *arguments)

    return {"forward": _forward}


def fuse(
    module: nn.Module, shared: Container[nn.Module], *, acts: bool, inplace: bool
) -> dict[nn.Module, FusionResult]:
    """Fuse normalizations in the forward of a module.

    Parameters
    ----------
    module
        Any module.
    shared
        Modules that are used in several places.
    acts
        Whether to fuse activations, and sums before them.
    inplace
        Whether y takes the memory of x where that is safe.

    Returns
    -------
    dict
        The result for each converted normalization among the children of the module.
    """
    norms = [child for child in module.children() if layers.is_fusible(child)]
    if not norms:
        return {}
    traced = trace(module)
    if isinstance(traced, str):
        return {norm: FusionResult(why=f"{type(module).__name__}: {traced}") for norm in norms}
    nodes = [(_called(module, node), node) for node in traced.graph.nodes]
    norm_calls = [(norm, node) for norm, node in nodes if norm in norms]
    uses = Counter(norm for norm, _ in norm_calls)
    results: dict[nn.Module, FusionResult] = {}
    for norm, node in norm_calls:
        # A normalization that is called twice may be fused: each call gets its own activation, and
        # the layer itself does not change. It may not work in place: see `overwriting`.
        several = uses[norm] > 1 or norm in shared
        match = _match(module, node, acts=acts)
        around = _around(module, match, several=several) if inplace else ""
        results[norm] = _result(match, around, acts=acts)
        if match.act is not None or isinstance(around, tuple):
            _replace(traced.graph, match, around if isinstance(around, tuple) else ())
    if any(result.fused or result.in_place for result in results.values()):
        # The code may refer to Python modules, which cannot be pickled: they are stored by name.
        code = traced.graph.python_code("self")
        names = {x: value for x, value in code.globals.items() if not isinstance(value, ModuleType)}
        imports = {x: code.globals[x].__name__ for x in code.globals.keys() - names.keys()}
        vars(module)[PLAN] = FusedForward(
            code.src, names, imports, traced.values, traced.present, traced.children
        )
        module.__class__ = generated.subclass("fused", type(module))
    return results


def restore(module: nn.Module) -> None:
    """Give a module its original forward back."""
    if generated.kind_of(type(module)) == "fused":
        vars(module).pop(PLAN, None)
        module.__class__ = generated.original(type(module))


def _called(module: nn.Module, node: fx.Node) -> nn.Module | None:
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
    """

    nodes: tuple[fx.Node, ...]
    between: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    residual: Any = None
    act: Act | None = None
    why: str = ""


def _match(module: nn.Module, norm: fx.Node, *, acts: bool) -> Match:
    """Match a normalization, a sum if there is one, and an activation.

    Each node's output may be read by the next node only: the fused call never computes it.
    """
    if not acts:
        return Match((norm,))
    before, following = _identities(module, norm)
    pattern, residual = [norm, *before], None
    after: list[fx.Node] = []
    if following is not None and _is_sum(following, pattern[-1]):
        residual = next(x for x in following.args if x is not pattern[-1])
        after, then = _identities(module, following)
        pattern += [following, *after]
        following = then
    act = None if following is None else _activation(module, following, pattern[-1])
    if following is None or act is None:
        return Match((norm,), why="no activation follows, or its output is used elsewhere")
    why = _disturbed(module, norm, following, pattern) or _changed(module, following, act)
    if why:
        return Match((norm,), why=why)
    return Match((*pattern, following), (_targets(before), _targets(after)), residual, act)


def _targets(nodes: list[fx.Node]) -> tuple[str, ...]:
    return tuple(str(node.target) for node in nodes)


def _identities(module: nn.Module, node: fx.Node) -> tuple[list[fx.Node], fx.Node | None]:
    """Return the calls of Identity that follow a node, and the only user after them."""
    found: list[fx.Node] = []
    following = _only_user(node)
    while following is not None and hooks.is_identity(_called(module, following)):
        found.append(following)
        following = _only_user(following)
    return found, following


def _around(module: nn.Module, match: Match, *, several: bool) -> tuple[str, ...] | str:
    """Return the modules that decide whether y may take the memory of x, or why it may not."""
    norm, last = match.nodes[0], match.nodes[-1]
    if match.residual is not None:
        return overwriting.RESIDUAL
    if several:
        return "not in place: it is used in several places"
    return _odd_call(module, norm) or overwriting.around(module, norm, match.act, last)


def _result(match: Match, around: tuple[str, ...] | str, *, acts: bool) -> FusionResult:
    fused = "" if match.act is None else "add + " * (match.residual is not None) + match.act.name
    in_place = isinstance(around, tuple)
    reasons = [match.why] if acts and not in_place else []
    reasons += [] if isinstance(around, tuple) else [around]
    return FusionResult(fused, in_place, "; ".join(dict.fromkeys(filter(None, reasons))))


def _replace(graph: fx.Graph, match: Match, around: tuple[str, ...]) -> None:
    """Replace the matched nodes by one call.

    The call reads the modules anew each time: a hook added later, or a module that was replaced, is
    then noticed by `calls.run`.
    """
    norm, last = match.nodes[0], match.nodes[-1]
    act = match.act or activations.IDENTITY
    with graph.inserting_before(last):
        layer = graph.create_node("get_attr", str(norm.target))
        is_module = match.act is not None and last.op == "call_module"
        act_module = graph.create_node("get_attr", str(last.target)) if is_module else None
        others, *between = (
            tuple(graph.create_node("get_attr", name) for name in names)
            for names in (around, *match.between)
        )
        arguments = (
            layer, norm.args[0], match.residual, act_module, act.name, act.slope, others, *between
        )  # fmt: skip
        fused = graph.call_function(calls.run, arguments)
    last.replace_all_uses_with(fused)
    for node in reversed(match.nodes):
        graph.erase_node(node)


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
        return activations.of_module(_called(module, node)) if alone else None
    return activations.of_call(node.target, node.args[1:], node.kwargs)


def _disturbed(module: nn.Module, norm: fx.Node, last: fx.Node, pattern: list[fx.Node]) -> str:
    """Return why normalizing cannot wait until the activation is computed; "" if it can.

    The fused call stands where the activation was. So every tensor that it reads must still have
    its value there: no node between may touch one of them, or write to any tensor, which may be a
    view of one.
    """
    why = _odd_call(module, norm)
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


def _odd_call(module: nn.Module, norm: fx.Node) -> str:
    """Return why the call of a normalization cannot be replaced; "" if it can."""
    if hooks.has_hooks(module.get_submodule(str(norm.target))):
        return "it has hooks"
    if len(norm.args) != 1 or norm.kwargs or not isinstance(norm.args[0], fx.Node):
        return "it is not called with one tensor"
    return ""


def _changes(module: nn.Module, node: fx.Node) -> bool:
    """Whether a node writes to a tensor, by its name or its argument inplace."""
    if node.op == "call_module":
        return layers.writes(_called(module, node))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    writes = (
        name.endswith("_") or name == "setitem" or (name[:1] == "i" and hasattr(operator, name))
    )
    return node.op.startswith("call") and (writes or bool(node.kwargs.get("inplace", False)))
