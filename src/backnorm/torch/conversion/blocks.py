"""Fuses in the forward of a module of any class: normalization, sum and activation become one call.

The module gets a class of its own, below the one it had. Its forward runs generated code while what
was read from the module is as it was, and else the forward that it had, which stays right: the
normalizations below it compute no activation by themselves.
"""

from __future__ import annotations

import functools
import operator
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import fx, nn

from backnorm.torch.conversion import activations, calls, layers, overwriting, stand_ins
from backnorm.torch.conversion.layers import Outcome
from backnorm.torch.conversion.tracing import trace

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from backnorm.torch.conversion.activations import Act

__all__ = ["fuse", "restore"]

PLAN: Final = "_backnorm_plan"
"""Attribute of the modules that were given another forward."""

ADDS: Final = (operator.add, stand_ins.iadd, torch.add)
FRESH: Final = (*ADDS, operator.sub, operator.mul, operator.truediv, torch.cat)
"""Functions whose result is no view of what they read."""


@dataclass(frozen=True)
class Plan:
    """A fused forward: its code, and while what it holds."""

    source: str
    names: Mapping[str, Any]
    imports: Mapping[str, str]
    values: Mapping[str, Any]
    present: tuple[str, ...]
    forward: Callable[..., Any] = field(init=False, compare=False, repr=False)
    """The function that the code defines; made at once: compilers do not follow its making."""

    def holds(self, module: nn.Module, arguments: tuple[Any, ...]) -> bool:
        """Whether the generated code computes what the forward before it would."""
        return (
            all(type(x) is torch.Tensor for x in arguments)
            and all(getattr(module, name, None) is not None for name in self.present)
            and all(getattr(module, name, None) == value for name, value in self.values.items())
        )

    def __post_init__(self) -> None:
        modules = {name: import_module(module) for name, module in self.imports.items()}
        names = {**self.names, **modules}
        exec(self.source, names)  # noqa: S102 - written by torch.fx from the graph
        object.__setattr__(self, "forward", names["forward"])

    def __deepcopy__(self, memo: Any) -> Plan:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (Plan, (self.source, self.names, self.imports, self.values, self.present))


def _reduced(self: nn.Module, protocol: Any) -> Any:
    """A generated class cannot be found by its name: make it again."""
    reduced: tuple[Any, ...] = object.__reduce_ex__(self, max(protocol, 2))  # type: ignore[assignment]
    return (_new, (type(self).__base__,), *reduced[2:])


def _new(base: type) -> Any:
    cls = _class(base)
    return cls.__new__(cls)


@cache
def _class(base: Any) -> Any:
    @functools.wraps(base.forward)
    def _forward(self: nn.Module, *arguments: Any, **keywords: Any) -> Any:
        plan = vars(self)[PLAN]
        if keywords or not plan.holds(self, arguments):
            return base.forward(self, *arguments, **keywords)
        return plan.forward(self, *arguments)

    members = {"__module__": base.__module__, "__doc__": base.__doc__}
    members |= {"forward": _forward, "__reduce_ex__": _reduced}
    return type(base.__name__, (base,), members)


def fuse(
    module: nn.Module, shared: Container[nn.Module], *, acts: bool, inplace: bool
) -> dict[nn.Module, Outcome]:
    """Fuse what the forward of a module shows.

    Parameters
    ----------
    module
        A module that is no Sequential.
    shared
        Modules that are used in several places.
    acts
        Whether to fuse activations, and sums before them.
    inplace
        Whether to let y take the memory of x where that is safe.

    Returns
    -------
    dict
        What became of each normalization that is one of its children.
    """
    norms = [child for child in module.children() if layers.is_converted(child)]
    if not norms:
        return {}
    traced = trace(module)
    if isinstance(traced, str):
        return {norm: Outcome(why=f"{type(module).__name__}: {traced}") for norm in norms}
    nodes = [(_called(module, node), node) for node in traced.graph.nodes]
    found = [(norm, node) for norm, node in nodes if norm in norms]
    uses = Counter(norm for norm, _ in found)
    outcomes: dict[nn.Module, Outcome] = {}
    for norm, node in found:
        several = uses[norm] > 1 or norm in shared
        at = _found(module, node, acts=acts)
        around = _around(module, at, several=several) if inplace else ""
        outcomes[norm] = _outcome(at, around, acts=acts)
        if at.act is not None or isinstance(around, tuple):
            _replace(traced.graph, at, around if isinstance(around, tuple) else ())
    if any(outcome.fused or outcome.in_place for outcome in outcomes.values()):
        code = traced.graph.python_code("self")
        names = {x: value for x, value in code.globals.items() if not isinstance(value, ModuleType)}
        imports = {x: code.globals[x].__name__ for x in code.globals.keys() - names.keys()}
        vars(module)[PLAN] = Plan(code.src, names, imports, traced.values, traced.present)
        cls: Any = type(module)
        module.__class__ = _class(cls)
    return outcomes


def restore(module: nn.Module) -> None:
    """Give a module its own forward back."""
    if vars(module).pop(PLAN, None) is not None:
        module.__class__ = type(module).__base__  # type: ignore[assignment]


def _called(module: nn.Module, node: fx.Node) -> nn.Module | None:
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


@dataclass(frozen=True)
class Found:
    """A normalization in a graph, and what one call can compute with it.

    Attributes
    ----------
    nodes
        The normalization; the sum, if there is one; the activation, if one is fused.
    residual
        What is added.
    act
        The activation; None if nothing is fused.
    why
        Why nothing is.
    """

    nodes: tuple[fx.Node, ...]
    residual: Any = None
    act: Act | None = None
    why: str = ""


def _found(module: nn.Module, norm: fx.Node, *, acts: bool) -> Found:
    """Look for a sum and an activation after a normalization."""
    if not acts:
        return Found((norm,))
    pattern, residual = [norm], None
    following = _only_user(norm)
    if following is not None and _is_sum(following, norm):
        pattern.append(following)
        residual = next(x for x in following.args if x is not norm)
        following = _only_user(following)
    act = None if following is None else _activation(module, following, pattern[-1])
    if following is None or act is None:
        return Found((norm,), why="no activation follows, or its output is used elsewhere")
    why = _disturbed(module, norm, following, pattern) or _changed(module, following, act)
    if why:
        return Found((norm,), why=why)
    return Found((*pattern, following), residual, act)


def _around(module: nn.Module, at: Found, *, several: bool) -> tuple[str, ...] | str:
    """Return the modules on which it depends whether y may take the memory of x, or why not."""
    norm, last = at.nodes[0], at.nodes[-1]
    if at.residual is not None:
        return overwriting.RESIDUAL
    if several:
        return "not in place: it is used in several places"
    return _odd_call(module, norm) or overwriting.around(module, norm, at.act, last)


def _outcome(at: Found, around: tuple[str, ...] | str, *, acts: bool) -> Outcome:
    fused = "" if at.act is None else "add + " * (at.residual is not None) + at.act.name
    in_place = isinstance(around, tuple)
    reasons = [at.why] if acts and not in_place else []
    reasons += [] if isinstance(around, tuple) else [around]
    return Outcome(fused, in_place, "; ".join(dict.fromkeys(filter(None, reasons))))


def _replace(graph: fx.Graph, at: Found, around: tuple[str, ...]) -> None:
    """Put one call in the place of all that it computes."""
    norm, last = at.nodes[0], at.nodes[-1]
    act = at.act or activations.IDENTITY
    with graph.inserting_before(last):
        owner = graph.create_node("get_attr", str(norm.target))
        own = at.act is not None and last.op == "call_module"
        kept = graph.create_node("get_attr", str(last.target)) if own else None
        others = tuple(graph.create_node("get_attr", name) for name in around)
        arguments = (owner, norm.args[0], at.residual, kept, act.name, act.slope, others)
        fused = graph.call_function(calls.run, arguments)
    last.replace_all_uses_with(fused)
    for node in reversed(at.nodes):
        graph.erase_node(node)


def _only_user(node: fx.Node) -> fx.Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 else None


def _is_sum(node: fx.Node, norm: fx.Node) -> bool:
    """Whether a node adds one other tensor to a normalization's output, and changes only that."""
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
    """Return what a node computes of x, if it is an activation of the engine."""
    if not node.args or node.args[0] is not x:
        return None
    if node.op == "call_module":
        alone = len(node.args) == 1 and not node.kwargs
        return layers.activation_of(_called(module, node)) if alone else None
    return activations.of_call(node.target, node.args[1:], node.kwargs)


def _disturbed(module: nn.Module, norm: fx.Node, last: fx.Node, pattern: list[fx.Node]) -> str:
    """Return why normalizing cannot wait until the activation is computed; "" if it can."""
    why = _odd_call(module, norm)
    if why:
        return why
    node, early = norm.next, {norm.args[0]}
    while node is not last:
        if node in pattern:
            early |= {x for x in node.args if isinstance(x, fx.Node) and x is not norm}
        elif not early.isdisjoint(node.all_input_nodes) or _changes(module, node):
            return "what it reads may be changed before the activation"
        node = node.next
    return ""


def _changed(module: nn.Module, last: fx.Node, act: Act) -> str:
    """Return why an activation must not keep its output, as it does once it is fused.

    So does stock relu, and so do activations that overwrite their input.
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
    """Return why a normalization's call cannot be replaced; "" if it can."""
    if layers.has_hooks(module.get_submodule(str(norm.target))):
        return "it has hooks"
    if len(norm.args) != 1 or norm.kwargs or not isinstance(norm.args[0], fx.Node):
        return "it is not called with one tensor"
    return ""


def _changes(module: nn.Module, node: fx.Node) -> bool:
    """Whether a node says that it writes into a tensor."""
    if node.op == "call_module":
        return layers.writes(_called(module, node))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    writes = (
        name.endswith("_") or name == "setitem" or (name[:1] == "i" and hasattr(operator, name))
    )
    return node.op.startswith("call") and (writes or bool(node.kwargs.get("inplace", False)))
