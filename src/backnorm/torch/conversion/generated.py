"""Subclasses made at run time: a module keeps its class to isinstance, and gets another forward."""

from __future__ import annotations

import functools
from functools import cache
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from torch import nn

__all__ = ["kind_of", "original", "recipe", "subclass"]

RECIPES: Final[dict[str, Callable[..., dict[str, Any]]]] = {}
"""For each kind of subclass the function that gives its members: of the original class, details."""

MADE: Final = "_backnorm_made"
"""Attribute of a class that was made here: its kind and details."""


def recipe(kind: str) -> Callable[..., Any]:
    """Register a function that gives the members of a kind of subclass: forward, and others."""

    def register(members: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        RECIPES[kind] = members
        return members

    return register


def subclass(kind: str, base: Any, *details: Hashable) -> Any:
    """Return the subclass of a kind of a class; always the same object for the same details."""
    return _made(kind, base, _codes(base), *details)


def _codes(base: type) -> tuple[Any, ...]:
    """Return the code of each method, which may be replaced between two conversions."""
    values = (value for cls in base.__mro__ for value in vars(cls).values())
    return tuple(value.__code__ for value in values if isinstance(value, FunctionType))


@cache
def _made(kind: str, base: Any, _: tuple[Any, ...], *details: Hashable) -> Any:
    members = RECIPES[kind](base, *details)
    bases = (*members.pop("mixins", ()), base)
    named = {"__module__": base.__module__, "__doc__": base.__doc__, MADE: (kind, *details)}
    for name, member in members.items():
        if isinstance(member, FunctionType) and hasattr(base, name):
            members[name] = functools.wraps(getattr(base, name))(member)
    made = type(base.__name__, bases, {**named, "__reduce_ex__": _reduced, **members})
    made.__qualname__ = base.__qualname__
    return made


def become(modules: Iterable[nn.Module], cls: type) -> None:
    """Give modules another class, past what their own says of setting attributes."""
    for module in modules:
        object.__setattr__(module, "__class__", cls)


def kind_of(cls: type) -> str:
    """Return the kind of a class that was made here; "" for any other."""
    return str(vars(cls).get(MADE, ("",))[0])


def original(cls: type) -> Any:
    """Return the class that a class was made of; a class that was not made here itself."""
    return cls.__bases__[-1] if kind_of(cls) else cls


def _reduced(self: nn.Module, protocol: Any) -> Any:
    """Pickle by the original class, since pickle cannot find a generated class by its name."""
    reduced: tuple[Any, ...] = object.__reduce_ex__(self, max(protocol, 2))  # type: ignore[assignment]
    cls: Any = type(self)
    if MADE not in vars(cls):  # somebody has made a subclass of it
        return reduced
    kind, *details = vars(cls)[MADE]
    return (_new, (kind, original(cls), *details), *reduced[2:])


def _new(kind: str, base: type, *details: Hashable) -> Any:
    cls = subclass(kind, base, *details)
    return cls.__new__(cls)
