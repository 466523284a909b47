"""The fused methods of a module of any class, and when they run in place of the original ones."""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from backnorm.torch.conversion import generated, layers
from backnorm.torch.conversion.classes import (
    called_by_forward,
    functions,
    names_in_forward,
    why_no_subclass,
)
from backnorm.torch.conversion.deferral import HELPERS
from backnorm.torch.conversion.layers import FusionResult
from backnorm.torch.conversion.outcomes import NOTHING, Outcome
from backnorm.torch.conversion.patterns import dotted
from backnorm.torch.conversion.plans import Plan, names_of, plan_of, resolved, union
from backnorm.torch.conversion.rewriting import PREFIX, Rewriting
from backnorm.torch.conversion.source import compiled, definition_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import nn

    from backnorm.torch.conversion.patterns import FollowingStep
    from backnorm.torch.conversion.rewriting import Site

__all__ = ["fuse"]


class Method(NamedTuple):
    """A method, and the same with normalizations that wait."""

    original: Any  # a FunctionType, which mypy takes for a method here
    rewriting: Rewriting


def fuse(
    modules: Sequence[nn.Module], *, acts: bool, inplace: bool
) -> list[dict[nn.Module, FusionResult]]:
    """Fuse normalizations in the methods of modules of one class.

    They get one other class in common if anything is fused in one of them.

    Parameters
    ----------
    modules
        Modules of one class, which is not a Sequential's.
    acts
        Whether to fuse activations, and sums before them.
    inplace
        Whether y takes the memory of x where that is safe.

    Returns
    -------
    list of dict
        For each module the result for each converted normalization among its children.
    """
    cls = type(modules[0])
    why = {module: why_no_subclass(module) for module in modules}
    free = [module for module in modules if not why[module]]
    plan = union([plan_of(module, acts=acts, inplace=inplace) for module in modules])
    methods, refused = _methods(cls, plan) if free else ({}, {})
    mentioned = names_in_forward(cls)
    results = {module: {} if why[module] else _results(module, methods, plan) for module in modules}
    if any(r.fused or r.in_place for result in results.values() for r in result.values()):
        generated.become(free, generated.subclass("forward", cls, plan))
    for module, result in results.items():
        for name, norm in vars(module)["_modules"].items():
            if layers.is_fusible(norm):
                unnamed = "" if name in mentioned else "its forward does not call it by its name"
                reason = why[module] or refused.get(name) or unnamed
                reason = f"{cls.__name__}: {reason}" if reason else NOTHING
                result.setdefault(norm, FusionResult(why=reason))
    return list(results.values())


@generated.recipe("forward")
def _members(base: Any, plan: Plan) -> dict[str, Any]:
    methods, _ = _methods(base, plan)
    helpers = {PREFIX + key: value for key, value in HELPERS.items()}
    return {name: _method(base, name, method, helpers) for name, method in methods.items()}


def _method(base: Any, name: str, method: Method, helpers: dict[str, Any]) -> Any:
    """Return a method that waits as long as the original one is not replaced or changed.

    Whatever takes its place in the class is called as if there was no generated subclass.
    """
    original = method.original
    fused, parts = compiled(method.rewriting.definition, original, helpers), _parts(original)

    def _method_or_other(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if getattr(base, name, None) is original and parts == _parts(original):
            return fused(self, *arguments, **keywords)
        made = next(cls for cls in type(self).__mro__ if generated.original(cls) is not cls)
        return getattr(super(made, self), name)(*arguments, **keywords)

    return _method_or_other


def _parts(function: Any) -> tuple[Any, ...]:
    """Return what may be replaced in a function: the tools that reload changed files do that."""
    return function.__code__, function.__defaults__, function.__kwdefaults__


def _methods(cls: Any, plan: Plan) -> tuple[dict[str, Method], dict[str, str]]:
    """Return the methods in which normalizations wait, and the reasons for others by layer."""
    found: dict[str, Method] = {}
    refused: dict[str, str] = {}
    for name, function in functions(cls).items():
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
        try:
            rewriting = Rewriting(definition, names, plan.inplace)
        except RecursionError:
            refused.update(dict.fromkeys(called, "an expression in it is nested too deeply"))
            continue
        if rewriting.sites:
            found[name] = Method(function, rewriting)
    return found, refused


# --- the report ---------------------------------------------------------------------------------


def _results(
    module: nn.Module, methods: dict[str, Method], plan: Plan
) -> dict[nn.Module, FusionResult]:
    """Return the results of the layers that a module's forward calls, directly or not."""
    children = vars(module)["_modules"]
    results: dict[nn.Module, FusionResult] = {}
    for name in methods.keys() & called_by_forward(type(module)):
        for site in methods[name].rewriting.sites:
            norm = children.get(site.norm)
            if norm is not None and layers.is_fusible(norm):
                result = _result(module, methods[name], site, plan)
                if norm not in results or result.fused or result.in_place:
                    results[norm] = result
    return results


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
    except Exception:  # noqa: BLE001 - the condition is a user's
        return True


def _follows(module: nn.Module, function: Any, outcome: Outcome, step: FollowingStep) -> bool:
    """Tell a step to an outcome; return whether the value still waits."""
    if step.kind == "sum":
        return outcome.add()
    if step.kind == "guard":
        return outcome.guard(step.function, vars(module)["_modules"].get(step.function))
    if not isinstance(step.node, ast.Call) or step.kind == "method":
        return outcome.call(step.function)
    owner, _, name = step.function.partition(".")
    own = owner == function.__code__.co_varnames[0]
    value = getattr(module, name, None) if own else resolved(function, step.function)
    arguments = [_constant(module, node) for node in step.node.args[1:]]
    keywords = {str(word.arg): _constant(module, word.value) for word in step.node.keywords}
    return outcome.call(value, tuple(arguments), keywords)


def _constant(module: nn.Module, node: ast.expr) -> Any:
    """Return a constant, or the attribute of self that stands in its place."""
    if isinstance(node, ast.Constant):
        return node.value
    return getattr(module, dotted(node).partition(".")[2], None)
