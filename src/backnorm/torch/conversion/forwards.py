"""The fused methods of a module of any class, and when they run in place of the original ones."""

from __future__ import annotations

import ast
import inspect
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from torch import fx, jit, nn

from backnorm.torch.conversion import generated
from backnorm.torch.conversion.deferral import HELPERS
from backnorm.torch.conversion.layers import FusionResult
from backnorm.torch.conversion.outcomes import NOTHING, Outcome
from backnorm.torch.conversion.patterns import dotted
from backnorm.torch.conversion.plans import Plan, names_of, plan_of, resolved
from backnorm.torch.conversion.rewriting import PREFIX, Rewriting
from backnorm.torch.conversion.source import compiled, definition_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm.torch.conversion.patterns import FollowingStep
    from backnorm.torch.conversion.rewriting import Site

__all__ = ["fuse"]


class Method(NamedTuple):
    """A method, and the same with normalizations that wait."""

    original: Any  # a FunctionType, which mypy takes for a method here
    rewriting: Rewriting


def fuse(module: nn.Module, *, acts: bool, inplace: bool) -> dict[nn.Module, FusionResult]:
    """Fuse normalizations in the methods of a module.

    Parameters
    ----------
    module
        A module that is not a Sequential; it gets another class if anything is fused.
    acts
        Whether to fuse activations, and sums before them.
    inplace
        Whether y takes the memory of x where that is safe.

    Returns
    -------
    dict
        The result for each converted normalization among its children.
    """
    plan = plan_of(module, acts=acts, inplace=inplace)
    children = vars(module)["_modules"]
    why = _why_no_subclass(module)
    methods, refused = ({}, {}) if why else _methods(type(module), plan)
    results: dict[nn.Module, FusionResult] = {}
    for method in methods.values():
        for site in method.rewriting.sites:
            norm, result = children[site.norm], _result(module, method, site, plan)
            if norm not in results or result.fused or result.in_place:
                results[norm] = result
    if any(result.fused or result.in_place for result in results.values()):
        module.__class__ = generated.subclass("forward", type(module), plan)
    for name in plan.norms:
        reason = why or refused.get(name)
        reason = f"{type(module).__name__}: {reason}" if reason else NOTHING
        results.setdefault(children[name], FusionResult(why=reason))
    return results


@generated.recipe("forward")
def _members(base: Any, plan: Plan) -> dict[str, Any]:
    methods, _ = _methods(base, Plan(*plan))
    return {name: _guarded(base, name, method) for name, method in methods.items()}


def _guarded(base: Any, name: str, method: Method) -> Any:
    """Return a method that runs with normalizations that wait, unless it was replaced since."""
    helpers = {PREFIX + key: value for key, value in HELPERS.items()}
    original = method.original
    fused = compiled(method.rewriting.definition, original, helpers)

    def _member(self: Any, *arguments: Any, **keywords: Any) -> Any:
        now = getattr(base, name)
        return (fused if now is original else now)(self, *arguments, **keywords)

    return _member


DEFINED: Final[dict[str, set[str]]] = {
    "its class defines how it is pickled": {
        "__getnewargs__", "__getnewargs_ex__", "__reduce__", "__reduce_ex__",
    },
    "its class defines how attributes are read": {"__getattr__", "__getattribute__"},
}  # fmt: skip
"""Methods of a class that a generated subclass would change, or whose effects are not known."""


# --- what may be fused --------------------------------------------------------------------------


def _why_no_subclass(module: nn.Module) -> str:
    """Return why a generated subclass cannot take the place of a module's class; "" if it can."""
    cls: Any = type(module)
    if "forward" in vars(module):
        return "its forward was replaced"
    if isinstance(module, fx.GraphModule | jit.ScriptModule):
        return "it is generated code"
    defined = {name for base in cls.__mro__[:-1] if base is not nn.Module for name in vars(base)}
    if type(cls) is not type or "__init_subclass__" in defined:
        return "its class registers its subclasses"
    for reason, names in DEFINED.items():
        if not defined.isdisjoint(names):
            return reason
    asks = any(map(_asks_for_class, _functions(cls).values()))
    return "its methods ask for the class of self" if asks else ""


def _functions(cls: type) -> dict[str, FunctionType]:
    """Return the methods of a class that are written in Python and do not belong to PyTorch."""
    found = {
        name: value
        for base in reversed(cls.__mro__)
        if base.__module__.partition(".")[0] != "torch"
        for name, value in vars(base).items()
    }
    return {name: value for name, value in found.items() if isinstance(value, FunctionType)}


def _asks_for_class(function: FunctionType) -> bool:
    """Whether a method reads the class of self, which would be the generated one."""
    names = function.__code__.co_names
    if "__class__" in names:
        return True
    if "type" not in names or not function.__code__.co_argcount:
        return False
    definition = definition_of(function)
    if isinstance(definition, str):
        return True
    return any(
        isinstance(node, ast.Call)
        and dotted(node.func) == "type"
        and [dotted(argument) for argument in node.args] == [function.__code__.co_varnames[0]]
        for node in ast.walk(definition)
    )


def _methods(cls: Any, plan: Plan) -> tuple[dict[str, Method], dict[str, str]]:
    """Return the methods in which normalizations wait, and the reasons for others by layer."""
    found: dict[str, Method] = {}
    refused: dict[str, str] = {}
    for name, function in _functions(cls).items():
        inner: Any = inspect.unwrap(function)
        called = plan.norms.intersection(inner.__code__.co_names)
        if name.startswith("__") or not called:
            continue
        if inner is not function:
            refused.update(dict.fromkeys(called, "its forward is decorated"))
            continue
        if not function.__code__.co_argcount:
            continue
        definition = definition_of(function)
        if isinstance(definition, str):
            refused.update(dict.fromkeys(called, definition))
            continue
        names = names_of(cls, function, definition, plan)
        rewriting = Rewriting(definition, names, plan.inplace)
        if rewriting.sites:
            found[name] = Method(function, rewriting)
    return found, refused


# --- the report ---------------------------------------------------------------------------------


def _result(module: nn.Module, method: Method, site: Site, plan: Plan) -> FusionResult:
    children = vars(module)["_modules"]
    outcome = Outcome(children[site.norm], children.get(site.before))
    owner = method.original.__code__.co_varnames[0]
    for step in _taken(module, owner, site.steps):
        if not _follows(module, method.original, outcome, step):
            break
    return outcome.result(
        children.get(site.after),
        written=method.rewriting.written,
        acts=plan.acts,
        inplace=plan.inplace,
    )


def _taken(
    module: nn.Module, owner: str, steps: tuple[FollowingStep, ...]
) -> Iterator[FollowingStep]:
    """Return the steps that are taken now, of each condition one branch."""
    for step in steps:
        if step.kind == "if":
            holds = _holds(module, owner, step.node)
            yield from _taken(module, owner, step.inner if holds else step.otherwise)
        else:
            yield step


def _holds(module: nn.Module, owner: str, test: Any) -> bool:
    """Return the value of a condition now; True if it depends on more than the module."""
    code = compile(ast.Expression(test), "<condition>", "eval")
    try:
        return bool(eval(code, {"__builtins__": {}}, {owner: module}))  # noqa: S307 - it only reads
    except (NameError, AttributeError, RuntimeError):
        return True


def _follows(
    module: nn.Module, function: FunctionType, outcome: Outcome, step: FollowingStep
) -> bool:
    """Tell a step to an outcome; return whether the value still waits."""
    if step.kind == "sum":
        return outcome.add()
    if step.kind == "guard":
        return outcome.guard(step.function, vars(module)["_modules"].get(step.function))
    if not isinstance(step.node, ast.Call) or step.kind == "method":
        return outcome.call(step.function)
    owner, _, name = step.function.partition(".")
    own = owner == function.__code__.co_varnames[0]
    value = getattr(module, name) if own else resolved(function, step.function)
    # All are constants, see `patterns`.
    arguments = [ast.literal_eval(node) for node in step.node.args[1:]]
    keywords = {str(word.arg): ast.literal_eval(word.value) for word in step.node.keywords}
    return outcome.call(value, tuple(arguments), keywords)
