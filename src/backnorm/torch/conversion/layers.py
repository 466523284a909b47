"""Stock layers become ours, and ours stock: the object stays, only its class changes.

So every reference stays valid: parameters in an optimizer, handles of hooks, a user's list of
layers, one layer under two names. A layer computes the same before and after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _LazyNormBase
from torch.nn.utils.parametrize import is_parametrized

from backnorm.report.conversions import NOT_CONVERTED
from backnorm.torch.conversion import generated, known
from backnorm.torch.engine import layers, modules, tools

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm._types import Through

__all__ = [
    "FusionResult",
    "class_name",
    "is_converted",
    "is_fusible",
    "is_norm",
    "is_plain",
    "mark",
    "result_of",
    "stock_class",
    "to_ours",
    "to_stock",
    "why_left_alone",
    "writes",
]


@dataclass(frozen=True, slots=True)
class FusionResult:
    """What is fused with a layer where it is called; fields as in `LayerReport`."""

    fused: str = ""
    in_place: bool = False
    why: str = ""


OURS: Final[Mapping[type[nn.Module], Any]] = {
    cls.stock: cls for cls in (modules.BatchNorm1d, modules.BatchNorm2d, modules.BatchNorm3d)
}

PLAIN: Final = frozenset(OURS.values())


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a batch normalization of any class."""
    return isinstance(module, (_BatchNorm, *layers.LAYERS)) or known.is_known(module)


def is_plain(module: nn.Module) -> TypeGuard[nn.Sequential]:
    """Whether a module only calls its children one after the other."""
    cls = generated.original(type(module))
    forward = getattr(cls, "forward", None)
    iterates = getattr(cls, "__iter__", None) is nn.Sequential.__iter__
    return forward is nn.Sequential.forward and iterates and "forward" not in vars(module)


def writes(module: nn.Module | None) -> bool:
    """Whether a module declares that it writes to its input; a Sequential's first layer counts."""
    while module is not None and is_plain(module):
        module = next(iter(vars(module)["_modules"].values()), None)
    return bool(getattr(module, "inplace", False))


def why_left_alone(module: nn.Module) -> str:
    """Return why a batch normalization cannot be converted; "" if it can."""
    cls = type(module)
    reasons = {
        "it has no parameters before its first call; convert the model after that": isinstance(
            module, _LazyNormBase
        ),
        "its parameters are parametrized": is_parametrized(module),
        "its forward was replaced": "forward" in vars(module),
        _own(module): cls.__module__.startswith("backnorm."),
        "it has an attribute through": "through" in vars(module),
    }
    why = next((reason for reason, holds in reasons.items() if holds), "")
    if why or cls in OURS:
        return why
    if known.is_known(module):
        return known.why_left_alone(module)
    return "an unknown subclass may compute something else"


def _own(module: nn.Module) -> str:
    through = getattr(module, "through", "both")
    return "it is backnorm's own" + (f", with through={through!r}" if through != "both" else "")


def is_converted(module: nn.Module | None) -> bool:
    """Whether a module is ours and was stock before a conversion."""
    return module is not None and tools.MARK in vars(module) and hasattr(type(module), "stock")


def is_fusible(value: object) -> bool:
    """Whether a value is a converted layer that normalizes and does nothing else."""
    return type(value) in PLAIN and tools.MARK in vars(value)


def to_ours(module: nn.Module, through: Through) -> None:
    """Turn a stock layer into ours."""
    cls = type(module)
    module.__class__ = OURS[cls] if cls in OURS else generated.subclass("known", cls)
    if through != "both":
        vars(module)["through"] = through
    mark(module, FusionResult(known.fused_in(module)))


def mark(module: nn.Module, result: FusionResult) -> None:
    """Remember what is fused with a converted layer."""
    vars(module)[tools.MARK] = result


def result_of(module: nn.Module) -> FusionResult:
    """Return what is fused with a layer; for a layer that was left alone why it was."""
    if is_converted(module):
        return vars(module)[tools.MARK]  # type: ignore[no-any-return]
    return FusionResult(why=why_left_alone(module) or NOT_CONVERTED)


def stock_class(module: nn.Module) -> type[nn.Module]:
    """Return the class that a layer had before it was converted; its own if it was not."""
    return type(module).stock if is_converted(module) else type(module)  # type: ignore[attr-defined]


def to_stock(module: nn.Module) -> bool:
    """Turn a converted layer back into a stock layer, and return whether it was converted."""
    if not is_converted(module):
        return False
    # What is cut out of the gradient belongs to the conversion; stock layers have one law of sums.
    for name in ("through", "sums"):
        vars(module).pop(name, None)
    return tools.to_stock(module)


def class_name(cls: type) -> str:
    """Return the name of a class in reports."""
    if generated.kind_of(cls):
        return f"backnorm.{cls.__qualname__}"
    if cls.__module__.startswith("torch.nn."):
        return f"torch.nn.{cls.__qualname__}"
    if cls.__module__.startswith("backnorm."):
        return f"backnorm.{cls.__qualname__}"
    return cls.__qualname__
