"""Subclasses made at run time: a module keeps its class to isinstance, and gets another forward."""

from __future__ import annotations

import functools
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

__all__ = ["kind_of", "original", "recipe", "subclass"]

RECIPES: Final[dict[str, Callable[[Any], dict[str, Any]]]] = {}
"""For each kind of subclass the function that gives its members, from the original class."""


def recipe(kind: str) -> Callable[..., Any]:
    """Register a function that gives the members of a kind of subclass: forward, and others."""

    def register(members: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
        RECIPES[kind] = members
        return members

    return register


def subclass(kind: str, base: Any) -> Any:
    """Return the subclass of a kind of a class; always the same object."""
    return _made(kind, base)


@cache
def _made(kind: str, base: Any) -> Any:
    members = RECIPES[kind](base)
    bases = (*members.pop("mixins", ()), base)
    named = {"__module__": base.__module__, "__doc__": base.__doc__, "_backnorm_kind": kind}
    members["forward"] = functools.wraps(base.forward)(members["forward"])
    made = type(base.__name__, bases, {**named, "__reduce_ex__": _reduced, **members})
    made.__qualname__ = base.__qualname__
    return made


def kind_of(cls: type) -> str:
    """Return the kind of a class that was made here; "" for any other."""
    return str(vars(cls).get("_backnorm_kind", ""))


def original(cls: type) -> Any:
    """Return the class that a class was made of; a class that was not made here itself."""
    return cls.__bases__[-1] if kind_of(cls) else cls


def _reduced(self: nn.Module, protocol: Any) -> Any:
    """Pickle by the original class, since pickle cannot find a generated class by its name."""
    reduced: tuple[Any, ...] = object.__reduce_ex__(self, max(protocol, 2))  # type: ignore[assignment]
    cls: Any = type(self)
    return (_new, (cls._backnorm_kind, original(cls)), *reduced[2:])


def _new(kind: str, base: type) -> Any:
    cls = subclass(kind, base)
    return cls.__new__(cls)
