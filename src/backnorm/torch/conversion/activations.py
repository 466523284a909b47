"""The activations as PyTorch's modules, functions and methods compute them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from backnorm.kernels import activations
from backnorm.kernels.activations import ByActivation
from backnorm.torch.conversion import hooks
from backnorm.torch.engine.activations import ACTIVATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backnorm._types import Activation

__all__ = ["SPELLINGS", "Act", "of_call", "of_module"]


@dataclass(frozen=True, slots=True)
class Act:
    """An activation that the engine knows, as a model calls it.

    Attributes
    ----------
    name, slope
        The activation; its slope below 0 where it has one.
    overwrites
        Whether the call writes to its input.
    """

    name: Activation
    slope: float = 0.01
    overwrites: bool = False

    @property
    def keeps_output(self) -> bool:
        """Whether PyTorch needs the output for backward, so that nobody may write to it."""
        return self.overwrites or ACTIVATIONS[self.name].keeps_output


class ActivationSpelling(NamedTuple):
    """How a model of PyTorch calls an activation.

    Attributes
    ----------
    module
        Its class in torch.nn.
    settings
        Attributes of the module, with the values for which it computes that activation.
    function
        The function of z, of the slope where the activation has one, and of inplace.
    others, overwriting
        Functions of z alone, and names of methods, that leave it as it is, and that write to it.
    """

    module: type[nn.Module]
    settings: Mapping[str, float]
    function: Callable[..., torch.Tensor]
    others: tuple[Callable[..., torch.Tensor] | str, ...] = ()
    overwriting: tuple[Callable[..., torch.Tensor] | str, ...] = ()

    @property
    def calls(self) -> tuple[Callable[..., torch.Tensor] | str, ...]:
        """All functions, and names of methods."""
        return (self.function, *self.others, *self.overwriting)


SPELLINGS: Final = ByActivation(
    {
        "relu": ActivationSpelling(
            nn.ReLU,
            {},
            functional.relu,
            (torch.relu, "relu"),
            (torch.relu_, functional.relu_, "relu_"),
        ),
        "relu6": ActivationSpelling(nn.ReLU6, {"min_val": 0.0, "max_val": 6.0}, functional.relu6),
        "leaky_relu": ActivationSpelling(nn.LeakyReLU, {}, functional.leaky_relu),
    }
)
"""Every activation but identity, which no model calls."""

FORWARDS: Final[dict[str, Any]] = {name: s.module.forward for name, s in SPELLINGS.items()}
"""The forwards of the modules when backnorm is imported: somebody may replace them later."""


def of_module(module: nn.Module | None) -> Act | None:
    """Return what a module computes, if it is an activation of the engine and nothing else runs."""
    if module is None or not hooks.is_bare(module):
        return None
    for name, spelling in SPELLINGS.items():
        if type(module) is spelling.module and _is_untouched(name, spelling):
            settings = {key: getattr(module, key) for key in spelling.settings}
            overwrites = bool(getattr(module, "inplace", False))
            act = _act(name, vars(module), overwrites=overwrites)
            return act if settings == spelling.settings else None
    return None


def _is_untouched(name: str, spelling: ActivationSpelling) -> bool:
    """Whether PyTorch's code of a module is what it was when backnorm was imported."""
    function = getattr(functional, name, None)
    return function is spelling.function and spelling.module.forward is FORWARDS[name]


def of_call(target: Any, others: tuple[Any, ...], keywords: Mapping[str, Any]) -> Act | None:
    """Return what a call computes, if it is an activation of the engine.

    Parameters
    ----------
    target
        The function, or the name of the method.
    others, keywords
        Its arguments after the first.
    """
    for name, spelling in SPELLINGS.items():
        if target is spelling.function:
            return _of_function(name, others, keywords)
        for calls, overwrites in ((spelling.others, False), (spelling.overwriting, True)):
            if any(_same(target, call) for call in calls):
                return None if others or keywords else Act(name, overwrites=overwrites)  # type: ignore[arg-type] # as in _act
    return None


def _same(one: Any, other: Any) -> bool:
    """Whether two functions are the same object, or two names equal."""
    return one is other or (isinstance(one, str) and isinstance(other, str) and one == other)


def _of_function(name: str, others: tuple[Any, ...], keywords: Mapping[str, Any]) -> Act | None:
    has_slope = activations.ACTIVATIONS[name].has_slope
    names = ("negative_slope", "inplace") if has_slope else ("inplace",)
    given = dict(zip(names, others, strict=False))
    if len(others) > len(names) or given.keys() & keywords.keys() or keywords.keys() - set(names):
        return None  # PyTorch raises
    given.update(keywords)
    inplace = given.get("inplace", False)
    return _act(name, given, overwrites=inplace) if isinstance(inplace, bool) else None


def _act(name: str, settings: Mapping[str, Any], *, overwrites: bool) -> Act | None:
    """Return an activation with the slope of its settings, if the engine has that."""
    slope = settings.get("negative_slope", 0.01)
    if not activations.ACTIVATIONS[name].has_slope:
        slope = 0.01
    elif not (isinstance(slope, float | int) and 0.0 < slope < float("inf")):
        return None
    return Act(name, float(slope), overwrites)  # type: ignore[arg-type] # a key of the table
