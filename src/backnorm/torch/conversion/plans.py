"""What the attributes of a module and the names in its methods stand for when it is converted."""

from __future__ import annotations

import ast
import inspect
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch import nn

from backnorm.torch.conversion import activations, hooks, layers
from backnorm.torch.conversion.activations import SPELLINGS
from backnorm.torch.conversion.patterns import Names, dotted

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Plan", "names_of", "plan_of", "resolved", "union"]

FRAMES: Final = frozenset(
    {"_getframe", "currentframe", "dir", "eval", "exec", "locals", "stack", "vars"}
)
"""Names of functions that see the variables of their caller."""

CALLS: Final = tuple(call for spelling in SPELLINGS.values() for call in spelling.calls)


class Plan(NamedTuple):
    """What the methods of a module are made of, beside its class.

    Attributes
    ----------
    norms, passing, writers
        Names of attributes: normalizations; activations, Identities and None; and children that
        write to their input.
    acts, inplace
        What the conversion was asked for.
    """

    norms: frozenset[str]
    passing: frozenset[str]
    writers: frozenset[str]
    acts: bool
    inplace: bool


def plan_of(module: nn.Module, *, acts: bool, inplace: bool) -> Plan:
    """Return what the attributes of a module are now.

    Parameters
    ----------
    module
        The module.
    acts, inplace
        What the conversion was asked for.
    """
    cls = type(module)
    held = {**_static(cls), **vars(module)["_modules"], **vars(module)}
    computed = _computed(cls)
    names = [name for name in held if not name.startswith("__") and name not in computed]
    norms = {name for name in names if layers.is_fusible(held[name])}
    passing = {name for name in names if _passes(held[name])} if acts else set()
    writers = {
        name for name in names if isinstance(held[name], nn.Module) and layers.writes(held[name])
    }
    return Plan(frozenset(norms), frozenset(passing), frozenset(writers), acts, inplace)


def union(plans: Sequence[Plan]) -> Plan:
    """Return the plan of modules of one class; what holds for some is looked up at each call."""
    return Plan(
        frozenset[str]().union(*(plan.norms for plan in plans)),
        frozenset[str]().union(*(plan.passing for plan in plans)),
        frozenset[str]().union(*(plan.writers for plan in plans)),
        plans[0].acts,
        plans[0].inplace,
    )


def _static(cls: type) -> dict[str, Any]:
    """Return the functions that a class holds and that do not take self."""
    found = {name: inspect.getattr_static(cls, name) for name in dir(cls)}
    return {
        name: value.__func__ for name, value in found.items() if isinstance(value, staticmethod)
    }


def _computed(cls: type) -> set[str]:
    """Return the attributes of a class that run code when they are read."""
    known = (FunctionType, staticmethod, classmethod)
    values = {name: inspect.getattr_static(cls, name) for name in dir(cls)}
    return {
        name
        for name, value in values.items()
        if hasattr(type(value), "__get__") and not isinstance(value, known)
    }


def _passes(value: Any) -> bool:
    """Whether a value may be taken into a normalization, or is not called at all."""
    if value is None:
        return True
    if isinstance(value, nn.Module):
        return hooks.is_identity(value) or activations.of_module(value) is not None
    return callable(value) and activations.of_call(value, (), {}) is not None


def names_of(cls: Any, function: FunctionType, definition: ast.FunctionDef, plan: Plan) -> Names:
    """Return what the names in a method stand for.

    Parameters
    ----------
    cls
        The class of the module.
    function, definition
        The method and its tree.
    plan
        What the attributes of the module are.
    """
    code = function.__code__
    owner = code.co_varnames[0]
    stored = [n for n in ast.walk(definition) if isinstance(n, ast.Name) and n.id == owner]
    # A forward that sees its variables would also see those of the new source.
    if FRAMES.intersection(code.co_names) or any(not isinstance(n.ctx, ast.Load) for n in stored):
        return Names(owner)
    calls = {dotted(n.func) for n in ast.walk(definition) if isinstance(n, ast.Call)}
    others = {name: resolved(function, name) for name in calls if name}
    own = {f"{owner}.{name}" for name in plan.passing}
    passing = own | {name for name, value in others.items() if plan.acts and _passes_now(value)}
    sums = {name for name, value in others.items() if plan.acts and value is torch.add}
    writers = {f"{owner}.{name}" for name in plan.writers}
    methods = {call for call in CALLS if isinstance(call, str) and plan.acts}
    local = set(code.co_varnames) - {owner, *code.co_cellvars}
    return Names(owner, plan.norms, passing, sums, writers, methods, local, _computed(cls))


def _passes_now(value: Any) -> bool:
    return value is not None and _passes(value)


def resolved(function: FunctionType, name: str) -> Any:
    """Return what a name with attributes stands for outside of a function; None if unknown."""
    first, *attributes = name.split(".")
    code = function.__code__
    if first in code.co_varnames or first in code.co_cellvars:
        return None
    if first in code.co_freevars:
        cell = (function.__closure__ or ())[code.co_freevars.index(first)]
        try:
            value = cell.cell_contents
        except ValueError:  # not assigned yet
            value = None
    else:
        value = function.__globals__.get(first)
    for attribute in attributes:
        value = vars(value).get(attribute) if isinstance(value, ModuleType) else None
    return value
