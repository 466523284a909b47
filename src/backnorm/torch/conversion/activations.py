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
        Attributes of the module, and keywords of the functions, with the values for which they
        compute that activation.
    calls
        Functions, and names of methods. Their first argument is z, the next one the slope where
        the activation has one, the last one may be `inplace`.
    """

    module: type[nn.Module]
    settings: Mapping[str, float]
    calls: tuple[Callable[..., torch.Tensor] | str, ...]


SPELLINGS: Final = ByActivation(
    {
        "relu": ActivationSpelling(
            nn.ReLU,
            {},
            (functional.relu, torch.relu, torch.relu_, functional.relu_, "relu", "relu_"),
        ),
        "relu6": ActivationSpelling(
            nn.ReLU6, {"min_val": 0.0, "max_val": 6.0}, (functional.relu6,)
        ),
        "leaky_relu": ActivationSpelling(nn.LeakyReLU, {}, (functional.leaky_relu,)),
    }
)
"""Every activation but identity, which no model calls."""


def of_module(module: nn.Module | None) -> Act | None:
    """Return what a module computes, if it is an activation of the engine and nothing else runs."""
    if module is None or not hooks.is_bare(module):
        return None
    for name, spelling in SPELLINGS.items():
        if type(module) is spelling.module:
            settings = {key: getattr(module, key) for key in spelling.settings}
            overwrites = bool(getattr(module, "inplace", False))
            act = _act(name, vars(module), overwrites=overwrites)
            return act if settings == spelling.settings else None
    return None


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
        if target in spelling.calls:
            settings = {key: value for key, value in keywords.items() if key != "inplace"}
            if any(settings.pop(key, value) != value for key, value in spelling.settings.items()):
                return None
            if activations.ACTIVATIONS[name].has_slope and others:
                settings["negative_slope"], *others = others  # type: ignore[assignment]
            overwrites = bool(keywords.get("inplace", False)) or any(others)
            overwrites = overwrites or getattr(target, "__name__", str(target)).endswith("_")
            act = _act(name, settings, overwrites=overwrites)
            known = settings.keys() <= {"negative_slope"} and all(type(x) is bool for x in others)
            return act if known else None
    return None


def _act(name: str, settings: Mapping[str, Any], *, overwrites: bool) -> Act | None:
    """Return an activation with the slope of its settings, if the engine has that."""
    slope = settings.get("negative_slope", 0.01)
    if not activations.ACTIVATIONS[name].has_slope:
        slope = 0.01
    elif not (isinstance(slope, float | int) and 0.0 < slope < float("inf")):
        return None
    return Act(name, float(slope), overwrites)  # type: ignore[arg-type] # a key of the table
