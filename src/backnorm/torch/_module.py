"""A torch module as a black box."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from backnorm.audit.subject import Run
from backnorm.torch._roles import role_of
from backnorm.torch._tensors import (
    alike,
    array_of,
    gradients,
    running_statistics,
    tensor_of,
)

if TYPE_CHECKING:
    from torch import nn

    from backnorm._types import AnyArray, Shape

__all__ = ["ModuleBox", "in_mode", "parameter_names", "stored_shape"]

PARAMETERS: Final = ("gamma", "beta")


@dataclass(frozen=True, slots=True, eq=False)
class ModuleBox:
    """A module in one mode: every call works on a fresh copy.

    Attributes
    ----------
    name
        What messages call it.
    module
        The module; never run itself.
    parameters
        Names of gamma and beta, of those that it has.
    """

    name: str
    module: nn.Module
    parameters: dict[str, str]

    def forward(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None) -> AnyArray:
        """Return y."""
        module, _ = self._fresh(x, {"gamma": gamma, "beta": beta})
        # With gradients, as in `run`: some layers take their absence for evaluation.
        with torch.enable_grad(), alike():
            return array_of(self.name, module(tensor_of(x).requires_grad_().clone()))

    def run(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray) -> Run:
        """Return y and the gradients."""
        values = {"gamma": gamma, "beta": beta}
        module, leaves = self._fresh(x, values)
        leaf = tensor_of(x).requires_grad_()
        with torch.enable_grad(), alike():
            # A module that works in place must not meet the leaf itself.
            y = module(leaf.clone())
            run = gradients(self.name, y, dy, {"x": leaf, **leaves})
        return Run(run.y, run.dx, _like(run.dgamma, gamma), _like(run.dbeta, beta))

    def _fresh(
        self, x: AnyArray, values: dict[str, AnyArray | None]
    ) -> tuple[nn.Module, dict[str, torch.Tensor]]:
        module = copy.deepcopy(self.module).to(torch.from_numpy(x[:0]).dtype)
        leaves = {role: module.get_parameter(name) for role, name in self.parameters.items()}
        with torch.no_grad():
            for role, leaf in leaves.items():
                value = values[role]
                if value is not None:
                    leaf.copy_(torch.from_numpy(value).reshape(leaf.shape))
        return module, {role: leaf.requires_grad_() for role, leaf in leaves.items()}


def _like(gradient: AnyArray | None, parameter: AnyArray | None) -> AnyArray | None:
    """Give the gradient of a (1, C, 1, 1) parameter the shape (C,) that the audit knows."""
    if gradient is None or parameter is None or gradient.size != parameter.size:
        return gradient
    return gradient.reshape(parameter.shape)


def in_mode(module: nn.Module, *, train: bool) -> nn.Module:
    """Copy a module into a mode, with running statistics that no batch has."""
    copied = copy.deepcopy(module).train(train)
    for name, buffer in copied.named_buffers():
        role = role_of(name)
        if role.startswith("running_") and buffer.is_floating_point():
            values = running_statistics(role, tuple(buffer.shape))
            with torch.no_grad():
                buffer.copy_(values)
    return copied


def parameter_names(module: nn.Module) -> dict[str, str]:
    """Return the names of gamma and beta; where names say nothing, ones and zeros do.

    In a module that holds others, as a convolution and a normalization, the latter's are meant.
    """
    found: dict[str, str] = {}
    for name, value in sorted(module.named_parameters(), key=lambda p: not _in_norm(module, p[0])):
        found.setdefault(role_of(name) or _role_by_value(value), name)
    return {role: found[role] for role in PARAMETERS if role in found}


def _in_norm(module: nn.Module, name: str) -> bool:
    owner = module.get_submodule(name.rpartition(".")[0])
    return "norm" in type(owner).__name__.lower()


def _role_by_value(value: torch.Tensor) -> str:
    if value.numel() and bool(torch.all(value == 1)):
        return "gamma"
    return "beta" if bool(torch.all(value == 0)) else ""


def stored_shape(module: nn.Module) -> Shape:
    """Return the shape that a module says its parameters have; empty where it says nothing."""
    for name in parameter_names(module).values():
        return tuple(module.get_parameter(name).shape)
    for name, buffer in module.named_buffers():
        if role_of(name).startswith("running_"):
            return tuple(buffer.shape)
    for name, value in vars(module).items():
        if role_of(name) == "channels" and isinstance(value, int | tuple):
            return (value,) if isinstance(value, int) else tuple(value)
    return ()
