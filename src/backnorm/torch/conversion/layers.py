"""Stock layers become ours, and ours stock: the object stays, only its class changes.

So every reference stays valid: parameters in an optimizer, handles of hooks, a user's list of
layers, one layer under two names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeGuard

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _LazyNormBase
from torch.nn.utils.parametrize import is_parametrized

from backnorm.torch.conversion import activations
from backnorm.torch.engine import modules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.torch.conversion.activations import Act

__all__ = [
    "FusionResult",
    "activation_of",
    "class_name",
    "has_hooks",
    "is_converted",
    "is_norm",
    "is_plain",
    "to_act",
    "to_ours",
    "to_stock",
    "why_left_alone",
    "writes",
]


@dataclass(frozen=True, slots=True)
class FusionResult:
    """What was fused into a layer; fields as in `LayerReport`."""

    fused: str = ""
    in_place: bool = False
    why: str = ""


OURS: Final[Mapping[type[nn.Module], type[nn.Module]]] = {
    nn.BatchNorm1d: modules.BatchNorm1d,
    nn.BatchNorm2d: modules.BatchNorm2d,
    nn.BatchNorm3d: modules.BatchNorm3d,
}

ACTS: Final[Mapping[type[nn.Module], type[nn.Module]]] = {
    modules.BatchNorm1d: modules.BatchNormAct1d,
    modules.BatchNorm2d: modules.BatchNormAct2d,
    modules.BatchNorm3d: modules.BatchNormAct3d,
}

STOCK: Final[Mapping[type[nn.Module], type[nn.Module]]] = {
    **{ours: stock for stock, ours in OURS.items()},
    **{ACTS[ours]: stock for stock, ours in OURS.items()},
}

MARK: Final = "_backnorm_converted"
"""Attribute of converted layers; layers built from backnorm's classes do not have it."""

HOOKS: Final = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a batch normalization of any class."""
    return isinstance(module, _BatchNorm)


def is_plain(module: nn.Module) -> TypeGuard[nn.Sequential]:
    """Whether a module only calls its children one after the other."""
    forward = getattr(type(module), "forward", None)
    return forward is nn.Sequential.forward and "forward" not in vars(module)


def writes(module: nn.Module | None) -> bool:
    """Whether a module declares that it writes to its input; a Sequential's first layer counts."""
    while module is not None and is_plain(module):
        module = next(iter(vars(module)["_modules"].values()), None)
    return bool(getattr(module, "inplace", False))


def why_left_alone(module: nn.Module) -> str:
    """Return why a batch normalization cannot be converted; "" if it can."""
    cls = type(module)
    if isinstance(module, nn.SyncBatchNorm):
        return "it normalizes across processes"
    if isinstance(module, _LazyNormBase):
        return "it has no parameters before its first call; convert the model after that"
    if is_parametrized(module):
        return "its parameters are parametrized"
    if cls not in OURS:
        ours = cls.__module__.startswith("backnorm.")
        return "it is backnorm's own" if ours else "an unknown subclass may compute something else"
    if "forward" in vars(module):
        return "its forward was replaced"
    return ""


def has_hooks(module: nn.Module) -> bool:
    """Whether hooks run when a module is called."""
    return any(vars(module)[kind] for kind in HOOKS)


def is_converted(module: nn.Module | None) -> bool:
    """Whether a module is ours and was stock before a conversion."""
    return module is not None and MARK in vars(module) and type(module) in STOCK


def activation_of(module: nn.Module | None) -> Act | None:
    """Return the activation that a module computes; None if the engine cannot compute it."""
    if module is None or has_hooks(module) or "forward" in vars(module):
        return None
    return activations.of_module(module)


def to_ours(module: nn.Module) -> None:
    """Turn a stock layer into ours."""
    module.__class__ = OURS[type(module)]
    vars(module)[MARK] = True


def to_act(module: nn.Module, act: Act, *, inplace: bool) -> None:
    """Have a layer of ours compute an activation as well."""
    module.__class__ = ACTS[type(module)]
    vars(module).update(activation=act.name, negative_slope=act.slope, inplace=inplace)


def to_stock(module: nn.Module) -> bool:
    """Turn a converted layer back into a stock layer, and return whether it was converted."""
    converted = is_converted(module)
    if converted:
        if type(module) in ACTS.values():
            for name in ("activation", "negative_slope", "inplace"):
                vars(module).pop(name)
        vars(module).pop(MARK)
        module.__class__ = STOCK[type(module)]
    return converted


def class_name(cls: type) -> str:
    """Return the name of a class in reports."""
    if cls.__module__.startswith("torch.nn."):
        return f"torch.nn.{cls.__qualname__}"
    if cls.__module__.startswith("backnorm."):
        return f"backnorm.{cls.__qualname__}"
    return cls.__qualname__
