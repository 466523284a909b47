"""The fused forward of a module: generated code, and when it may run in place of the original."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import torch

from backnorm.torch.conversion import generated, hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from backnorm.torch.conversion.surroundings import Method, Reading
    from backnorm.torch.conversion.tracing import TracedForward

__all__ = ["install", "restore"]

PLAN: Final = "_backnorm_plan"
"""Attribute of a module with a fused forward."""


@dataclass(frozen=True)
class FusedForward:
    """A fused forward: its code, and the values under which it is right."""

    source: str
    names: Mapping[str, Any]
    imports: Mapping[str, str]
    values: Mapping[str, Any]
    present: tuple[str, ...]
    structure: Mapping[str, tuple[str, ...]]
    readings: tuple[Reading, ...] = ()
    methods: tuple[Method, ...] = ()
    forward: Callable[..., Any] = field(init=False, compare=False, repr=False)
    """The function that the code defines; made here, since torch.compile cannot trace exec."""

    def holds(self, module: nn.Module, arguments: tuple[Any, ...]) -> bool:
        """Whether the generated code computes what the original forward would."""
        return (
            all(type(x) is torch.Tensor for x in arguments)
            and not hooks.hears_every_call()
            and all(_children(module, path) == names for path, names in self.structure.items())
            and all(getattr(module, name, None) is not None for name in self.present)
            and all(_same(getattr(module, name, None), was) for name, was in self.values.items())
            and all(reading.holds() for reading in self.readings)
            and all(method.holds(module) for method in self.methods)
        )

    def __post_init__(self) -> None:
        modules = {name: import_module(module) for name, module in self.imports.items()}
        names = {**self.names, **modules}
        exec(self.source, names)  # noqa: S102 - written by torch.fx from the graph
        object.__setattr__(self, "forward", names["forward"])

    def __deepcopy__(self, memo: Any) -> FusedForward:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self.source, self.names, self.imports, self.values, self.present)
        return (FusedForward, (*parts, self.structure, self.readings, self.methods))


def _same(value: Any, was: Any) -> bool:
    """Whether an attribute has the same value; a tensor that equals a number is another."""
    return type(value) is type(was) and bool(value == was)


def _children(module: nn.Module | None, path: str) -> tuple[str, ...] | None:
    """Return the names of the children of the module at a path; None if it has no such module."""
    for name in path.split(".") if path else ():
        module = None if module is None else vars(module)["_modules"].get(name)
    return None if module is None else tuple(vars(module)["_modules"])


@generated.recipe("fused")
def _members(base: Any) -> dict[str, Any]:
    def _forward(self: nn.Module, *arguments: Any, **keywords: Any) -> Any:
        # A slice of a Sequential has its class, and no plan.
        plan = vars(self).get(PLAN)
        if plan is None or keywords or not plan.holds(self, arguments):
            return base.forward(self, *arguments, **keywords)
        return plan.forward(self, *arguments)

    return {"forward": _forward}


def install(module: nn.Module, traced: TracedForward) -> None:
    """Give a module the forward of a graph that was rewritten."""
    # The code may refer to Python modules, which cannot be pickled: they are stored by name.
    code = traced.graph.python_code("self")
    names = {x: value for x, value in code.globals.items() if not isinstance(value, ModuleType)}
    imports = {x: code.globals[x].__name__ for x in code.globals.keys() - names.keys()}
    around = traced.around
    vars(module)[PLAN] = FusedForward(
        code.src,
        names,
        imports,
        traced.values,
        traced.present,
        traced.structure,
        tuple(around.readings.values()),
        tuple(around.methods.values()),
    )
    module.__class__ = generated.subclass("fused", type(module))


def restore(module: nn.Module) -> None:
    """Give a module its original forward back."""
    if generated.kind_of(type(module)) == "fused":
        vars(module).pop(PLAN, None)
        module.__class__ = generated.original(type(module))
