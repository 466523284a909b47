"""The class of a module: its methods, and whether a generated subclass can take its place."""

from __future__ import annotations

import ast
import inspect
from functools import cached_property
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final

from torch import fx, jit, nn
from torch.nn.utils.parametrize import is_parametrized

from backnorm.torch.conversion.patterns import dotted
from backnorm.torch.conversion.source import definition_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["called_by_forward", "functions", "names_in_forward", "why_no_subclass"]

DEFINED: Final[dict[str, set[str]]] = {
    "its class registers its subclasses": {"__init_subclass__"},
    "its class defines how it is pickled": {
        "__getnewargs__", "__getnewargs_ex__", "__reduce__", "__reduce_ex__",
    },
    "its class defines how attributes are read": {"__getattr__", "__getattribute__"},
}  # fmt: skip
"""Methods of a class that a generated subclass would change, or whose effects are not known."""


def why_no_subclass(module: nn.Module) -> str:
    """Return why a generated subclass cannot take the place of a module's class; "" if it can."""
    cls: Any = type(module)
    reasons = {
        "its forward was replaced": "forward" in vars(module),
        "it is generated code": isinstance(module, fx.GraphModule | jit.ScriptModule),
        "its parameters are parametrized": is_parametrized(module),
        "its class has a metaclass": type(cls) is not type,
    }
    why = next((reason for reason, holds in reasons.items() if holds), "")
    return why or _why_no_subclass_of(cls)


def _why_no_subclass_of(cls: type) -> str:
    defined = {name for base in cls.__mro__[:-1] if base is not nn.Module for name in vars(base)}
    for reason, names in DEFINED.items():
        if not defined.isdisjoint(names):
            return reason
    asks = any(map(_asks_for_class, _code_of_user(cls)))
    return "its methods ask for the class of self" if asks else ""


def _members(cls: type) -> dict[str, Any]:
    """Return what a class and its bases define, but for PyTorch's."""
    return {
        name: value
        for base in reversed(cls.__mro__)
        if base.__module__.partition(".")[0] != "torch"
        for name, value in vars(base).items()
    }


def functions(cls: type) -> dict[str, FunctionType]:
    """Return the methods of a class that are written in Python and do not belong to PyTorch."""
    found = _members(cls).items()
    return {name: value for name, value in found if isinstance(value, FunctionType)}


def _code_of_user(cls: type) -> Iterator[FunctionType]:
    """Yield the functions of methods, of classmethods and of properties."""
    for value in _members(cls).values():
        if isinstance(value, property):
            parts: tuple[Any, ...] = (value.fget, value.fset, value.fdel)
        elif isinstance(value, cached_property):
            parts = (value.func,)
        else:
            parts = (getattr(value, "__func__", value),)
        yield from (part for part in parts if isinstance(part, FunctionType))


def _asks_for_class(function: FunctionType) -> bool:
    """Whether a method reads the class of self, which would be the generated one."""
    code: CodeType = inspect.unwrap(function).__code__
    if "__class__" in code.co_names:
        return True
    if not code.co_argcount or not ("type" in code.co_names or code.co_varnames[0] == "cls"):
        return False
    definition = definition_of(function)
    if isinstance(definition, str):
        return "type" in code.co_names
    first = code.co_varnames[0]
    return any(_reads_class(node, first) for node in ast.walk(definition))


def _reads_class(node: ast.AST, first: str) -> bool:
    """Whether an expression is type(self), or compares the class of a classmethod."""
    if isinstance(node, ast.Call) and dotted(node.func) == "type":
        return [dotted(argument) for argument in node.args] == [first]
    compared = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
    return first == "cls" and first in map(dotted, compared)


def called_by_forward(cls: type) -> set[str]:
    """Return the methods that the forward of a class calls, directly or not, and forward."""
    found, todo = {"forward"}, ["forward"]
    methods = functions(cls)
    while todo:
        function: Any = methods.get(todo.pop())
        if function is not None:
            new = set(_names(inspect.unwrap(function).__code__)) & methods.keys() - found
            found |= new
            todo += new
    return found


def names_in_forward(cls: type) -> set[str]:
    """Return all names in the methods that the forward of a class calls, and in forward."""
    methods = functions(cls)
    found = [methods[name] for name in called_by_forward(cls) & methods.keys()]
    return {name for f in found for name in _names(inspect.unwrap(f).__code__)}


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
