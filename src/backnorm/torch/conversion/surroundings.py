"""What a forward reads beside its arguments and its module, found in its bytecode.

A graph keeps the values that forward had when it was traced, and none of its effects on other
objects. So all that the code names is looked up before it runs: a constant or a function is
compared again at every call, and any other object is a reason not to trace.
"""

from __future__ import annotations

import builtins
import dis
import inspect
from dataclasses import dataclass, field
from importlib import import_module
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from backnorm.torch.conversion import generated

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Method", "Reading", "Surroundings", "look_around"]

HARMLESS: Final = frozenset(
    {
        "abs", "all", "any", "bool", "dict", "divmod", "enumerate", "float", "int", "len", "list",
        "map", "max", "min", "range", "reversed", "round", "set", "slice", "sorted", "str", "sum",
        "super", "tuple", "zip",
    }
)  # fmt: skip
"""Builtin functions that change nothing and always give the same answer."""

PURE: Final = ("torch", "math", "operator", "_operator")
"""Packages whose functions a graph shows, or that compute with numbers."""

SCALARS: Final = (type(None), bool, int, float, complex, str, torch.dtype, torch.device, torch.Size)

NOTHING: Final = object()

OF_EVERY_MODULE: Final = frozenset(vars(nn.Module()))
"""Attributes in which PyTorch keeps parameters, children and hooks."""


@dataclass(frozen=True)
class Reading:
    """A name outside of a function: the module that has it, the way to it, and what it was."""

    space: dict[str, Any] = field(repr=False, compare=False)
    module: str
    path: tuple[str, ...]
    value: Any

    def holds(self) -> bool:
        """Whether the name still means the same."""
        found = _followed(self.space, self.path)
        if _is_constant(self.value):
            return type(found) is type(self.value) and bool(found == self.value)
        return found is self.value

    def __reduce__(self) -> tuple[Any, ...]:
        value = (self.value,) if _is_constant(self.value) else None
        return (_read_again, (self.module, self.path, value))


def _read_again(module: str, path: tuple[str, ...], value: tuple[Any] | None) -> Reading:
    """Return a reading that was pickled: functions are those of the process that loads it."""
    space = vars(import_module(module))
    return Reading(space, module, path, _followed(space, path) if value is None else value[0])


def _followed(space: dict[str, Any], path: tuple[str, ...]) -> Any:
    """Return what a global name and the attributes behind it are now."""
    found = space.get(path[0], NOTHING)
    for name in path[1:]:
        found = getattr(found, name, NOTHING)
    return found


@dataclass(frozen=True)
class Method:
    """A function of the module's class, which somebody may replace."""

    name: str
    function: Any = field(compare=False)

    def holds(self, module: nn.Module) -> bool:
        """Whether a module still calls the same function."""
        found = getattr(generated.original(type(module)), self.name, None)
        return self.name not in vars(module) and found is self.function

    def __reduce__(self) -> tuple[Any, ...]:
        return (_method_again, (self.name, self.function.__module__, self.function.__qualname__))


def _method_again(name: str, module: str, qualname: str) -> Method:
    found: Any = import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return Method(name, found)


@dataclass
class Surroundings:
    """All that a forward and the functions that it calls read.

    Attributes
    ----------
    readings
        Names outside of them.
    methods
        Functions of the module's class.
    seen
        The functions that were read.
    """

    readings: dict[tuple[str, tuple[str, ...]], Reading] = field(default_factory=dict)
    methods: dict[str, Method] = field(default_factory=dict)
    seen: set[Any] = field(default_factory=set)


def look_around(module: nn.Module) -> Surroundings | str:
    """Return what the forward of a module reads, or why a graph would not show what it does."""
    around, cls = Surroundings(), type(module)
    around.methods["forward"] = Method("forward", cls.forward)
    why = _scan(cls.forward, module, around)
    return why or around


def codes_in(code: CodeType) -> Iterator[CodeType]:
    """Yield a code and those of the functions and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if inspect.iscode(constant):
            yield from codes_in(constant)


def _scan(function: Any, module: nn.Module, around: Surroundings) -> str:
    """Add what a function reads; return why it cannot be traced, or an empty string."""
    if function in around.seen:
        return ""
    around.seen.add(function)
    free = set(function.__code__.co_freevars) - {"__class__"}
    if free:
        return f"its forward reads {min(free)} of a function around it"
    names: set[str] = set()
    for code in codes_in(function.__code__):
        names |= set(code.co_names)
        why = _of_code(code, function, module, around)
        if why:
            return why
    return _of_attributes(names, module, around)


def _of_code(code: CodeType, function: Any, module: nn.Module, around: Surroundings) -> str:
    steps = list(dis.get_instructions(code))
    for at, step in enumerate(steps):
        if step.opname == "IMPORT_NAME":
            return "its forward imports a module"
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            attributes = _attributes(steps[at + 1 :])
            why = _of_name(str(step.argval), attributes, function, module, around)
            if why:
                return why
    return ""


def _attributes(steps: list[dis.Instruction]) -> Iterator[str]:
    """Yield the names of the attributes that are read one from the other."""
    for step in steps:
        if step.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
            return
        yield str(step.argval)


def _of_name(
    name: str, attributes: Iterator[str], function: Any, module: nn.Module, around: Surroundings
) -> str:
    space = function.__globals__
    if name not in space:
        known = name in HARMLESS or _is_exception(getattr(builtins, name, None))
        return "" if known or not hasattr(builtins, name) else f"its forward uses {name}"
    value, path = space[name], [name]
    while isinstance(value, ModuleType | type) and not _is_pure(value):
        attribute = next(attributes, None)
        if attribute is None or not hasattr(value, attribute):
            break
        value = getattr(value, attribute)
        path.append(attribute)
    key = (space.get("__name__", ""), tuple(path))
    around.readings[key] = Reading(space, *key, value)
    return _of_value(".".join(path), value, module, around)


def _of_value(name: str, value: Any, module: nn.Module, around: Surroundings) -> str:
    """Add what a value reads if it is a function; return why it is not a constant, or ""."""
    if _is_pure(value) or _is_constant(value) or _is_exception(value):
        return ""
    if isinstance(value, FunctionType):
        return _scan(value, module, around)
    return f"its forward reads {name}, a {type(value).__name__}"


def _of_attributes(names: set[str], module: nn.Module, around: Surroundings) -> str:
    """Add the functions of the class, and of the module itself, that code with such names calls."""
    cls = type(module)
    for name in sorted(names):
        if name in vars(module):
            value = vars(module)[name]
            if name not in OF_EVERY_MODULE and not isinstance(value, torch.Tensor):
                why = _of_value(name, value, module, around)
                if why:
                    return why
            continue
        owners = [base for base in cls.__mro__ if name in vars(base) and not _is_pure(base)]
        for owner in owners if "super" in names else owners[:1]:
            why = _of_member(name, vars(owner)[name], module, around)
            if why:
                return why
    return ""


def _of_member(name: str, member: Any, module: nn.Module, around: Surroundings) -> str:
    if isinstance(member, property):
        return _of_value(name, member.fget, module, around)
    function = member.__func__ if isinstance(member, staticmethod) else member
    if isinstance(function, FunctionType):
        around.methods[name] = Method(name, getattr(type(module), name))
    return _of_value(name, function, module, around)


def _is_pure(value: Any) -> bool:
    """Whether a value is PyTorch's, or a function of numbers."""
    owner = getattr(value, "__self__", None)
    if isinstance(value, BuiltinFunctionType) and isinstance(owner, list | dict | set):
        return False
    if isinstance(owner, type) and issubclass(owner, torch.autograd.Function):
        return False  # torch.fx does not see its backward pass
    place = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    if isinstance(value, FunctionType):  # functools.wraps copies __module__
        place = value.__globals__.get("__name__", "")
    place = place or type(value).__module__
    return str(place).partition(".")[0] in PURE or (
        isinstance(value, type) and value.__module__ == "builtins"
    )


def _is_constant(value: Any) -> bool:
    return type(value) in SCALARS or (type(value) is tuple and all(map(_is_constant, value)))


def _is_exception(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)
