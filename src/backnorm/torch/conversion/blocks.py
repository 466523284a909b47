"""Fuses in the forward of a module of any class: normalization, sum and activation become one call.

The module gets a class of its own, below the one it had. Its forward runs generated code while what
was read from the module is as it was, and else the forward that it had, which stays right: the
normalizations below it compute no activation by themselves.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import fx, nn
from torch.nn import functional

from backnorm.torch.conversion import calls, layers
from backnorm.torch.conversion.layers import Act, Outcome
from backnorm.torch.conversion.tracing import trace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["fuse", "restore"]

PLAN: Final = "_backnorm_plan"
"""Attribute of the modules that were given another forward."""

ADDS: Final = (operator.add, operator.iadd, torch.add)
RELUS: Final = (functional.relu, torch.relu, torch.relu_, functional.relu_)


@dataclass(frozen=True)
class Plan:
    """A fused forward: its code, and while what it holds."""

    source: str
    names: Mapping[str, Any]
    imports: Mapping[str, str]
    values: Mapping[str, Any]
    present: tuple[str, ...]

    def holds(self, module: nn.Module, arguments: tuple[Any, ...]) -> bool:
        """Whether the generated code computes what the forward before it would."""
        return (
            all(type(x) is torch.Tensor for x in arguments)
            and all(getattr(module, name, None) is not None for name in self.present)
            and all(getattr(module, name, None) == value for name, value in self.values.items())
        )

    @functools.cached_property
    def forward(self) -> Callable[..., Any]:
        """The function that the code defines."""
        modules = {name: import_module(module) for name, module in self.imports.items()}
        names = {**self.names, **modules}
        exec(self.source, names)  # noqa: S102 - written by torch.fx from the graph
        return names["forward"]  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: Any) -> Plan:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "forward"}


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


def fuse(module: nn.Module, *, inplace: bool) -> dict[nn.Module, Outcome]:
    """Fuse what the forward of a module shows.

    Parameters
    ----------
    module
        A module that is no Sequential.
    inplace
        Whether y was to take the memory of x, which is not done here.

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
    outcomes: dict[nn.Module, Outcome] = {}
    for node in list(traced.graph.nodes):
        norm = _called(module, node)
        if norm is not None and norm in norms:
            outcomes[norm] = _fuse_one(module, traced.graph, node)
    if any(outcome.fused for outcome in outcomes.values()):
        code = traced.graph.python_code("self")
        names = {x: value for x, value in code.globals.items() if not isinstance(value, ModuleType)}
        imports = {x: code.globals[x].__name__ for x in code.globals.keys() - names.keys()}
        vars(module)[PLAN] = Plan(code.src, names, imports, traced.values, traced.present)
        cls: Any = type(module)
        module.__class__ = _class(cls)
    if inplace:
        why = "not in place: it lies in no Sequential"
        outcomes |= {norm: replace(x, why=x.why or why) for norm, x in outcomes.items()}
    return outcomes


def restore(module: nn.Module) -> None:
    """Give a module its own forward back."""
    if vars(module).pop(PLAN, None) is not None:
        module.__class__ = type(module).__base__  # type: ignore[assignment]


def _called(module: nn.Module, node: fx.Node) -> nn.Module | None:
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


def _fuse_one(module: nn.Module, graph: fx.Graph, norm: fx.Node) -> Outcome:
    """Replace a normalization and what follows it by one call."""
    pattern, residual = [norm], None
    following = _only_user(norm)
    if following is not None and _is_sum(following, norm):
        pattern.append(following)
        residual = next(x for x in following.args if x is not norm)
        following = _only_user(following)
    act = None if following is None else _activation(module, following, pattern[-1])
    if following is None or act is None:
        return Outcome(why="no activation follows, or its output is used elsewhere")
    why = _disturbed(module, norm, following, pattern)
    if why:
        return Outcome(why=why)
    with graph.inserting_before(following):
        owner = graph.create_node("get_attr", str(norm.target))
        own = following.op == "call_module"
        kept = graph.create_node("get_attr", str(following.target)) if own else None
        arguments = (owner, norm.args[0], residual, kept, act.name, act.slope)
        fused = graph.call_function(calls.run, arguments)
    following.replace_all_uses_with(fused)
    for node in (following, *reversed(pattern)):
        graph.erase_node(node)
    return Outcome("add + " * (residual is not None) + act.name)


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
        node.target in ADDS and (node.target is not operator.iadd or first)
    )


def _activation(  # noqa: PLR0911 - a table of patterns
    module: nn.Module, node: fx.Node, x: fx.Node
) -> Act | None:
    """Return what a node computes of x, if it is an activation of the engine."""
    if not node.args or node.args[0] is not x:
        return None
    if node.op == "call_module":
        alone = len(node.args) == 1 and not node.kwargs
        return layers.activation_of(_called(module, node)) if alone else None
    others = {name: value for name, value in node.kwargs.items() if name != "inplace"}
    if node.op == "call_method":
        return Act("relu") if node.target in ("relu", "relu_") and len(node.args) == 1 else None
    if node.op != "call_function":
        return None
    if node.target in RELUS and not others:
        return Act("relu")
    if node.target is functional.relu6 and not others:
        return Act("relu6")
    if node.target is functional.leaky_relu:
        slope = node.args[1] if len(node.args) > 1 else others.get("negative_slope", 0.01)
        return layers.leaky(slope)
    return None


def _disturbed(module: nn.Module, norm: fx.Node, last: fx.Node, pattern: list[fx.Node]) -> str:
    """Return why normalizing cannot wait until the activation is computed; "" if it can."""
    if layers.has_hooks(module.get_submodule(str(norm.target))):
        return "it has hooks"
    if len(norm.args) != 1 or norm.kwargs or not isinstance(norm.args[0], fx.Node):
        return "it is not called with one tensor"
    node, early = norm.next, {norm.args[0]}
    while node is not last:
        if node in pattern:
            early |= {x for x in node.args if isinstance(x, fx.Node) and x is not norm}
        elif not early.isdisjoint(node.all_input_nodes) or _changes(module, node):
            return "what it reads may be changed before the activation"
        node = node.next
    return ""


def _changes(module: nn.Module, node: fx.Node) -> bool:
    """Whether a node says that it writes into a tensor."""
    if node.op == "call_module":
        return bool(getattr(_called(module, node), "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    writes = (
        name.endswith("_") or name == "setitem" or (name[:1] == "i" and hasattr(operator, name))
    )
    return node.op.startswith("call") and (writes or bool(node.kwargs.get("inplace", False)))
