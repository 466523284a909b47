"""A torch module as a black box."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import torch

from backnorm.audit.boxes import PLAIN
from backnorm.audit.subject import Run
from backnorm.torch._roles import role_of
from backnorm.torch._tensors import (
    alike,
    array_of,
    gradients,
    higher_gradients,
    leaf_of,
    running_statistics,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import nn

    from backnorm._types import AnyArray, Shape
    from backnorm.audit.boxes import Variant, Visit

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
    way
        How it is run.
    held
        Names of its state that required a gradient or held a graph, before they were cut off.
    """

    name: str
    module: nn.Module
    parameters: dict[str, str]
    way: Variant = PLAIN
    held: tuple[str, ...] = ()

    def forward(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None) -> AnyArray:
        """Return y."""
        module = self._fresh(x)
        self._leaves(module, gamma, beta)
        # With gradients, as in `run`: some layers take their absence for evaluation.
        with torch.enable_grad(), alike(self.way.threads):
            return array_of(self.name, module(leaf_of(x, self.way).clone()))

    def run(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray) -> Run:
        """Return y and the gradients."""
        return self._run_on(self._fresh(x), x, gamma, beta, dy)

    def higher(
        self,
        x: AnyArray,
        gamma: AnyArray | None,
        beta: AnyArray | None,
        dy: AnyArray,
        along: Sequence[AnyArray],
    ) -> dict[str, AnyArray]:
        """Differentiate the gradient, by autograd; see `DeepBox`."""
        module = self._fresh(x)
        leaves = {"x": leaf_of(x, self.way), **self._leaves(module, gamma, beta)}
        with torch.enable_grad(), alike(self.way.threads):
            y = module(leaves["x"].clone())
            found = higher_gradients(self.name, y, dy, leaves, along)
        for role, value in (("gamma", gamma), ("beta", beta)):
            if role in found and value is not None:
                found[role] = found[role].reshape(value.shape)
        return found

    def state(self) -> dict[str, AnyArray]:
        """Return buffers, running statistics that are parameters, and plain attributes."""
        return {
            name: torch.as_tensor(value).detach().cpu().double().numpy().copy()
            for name, value in state_of(self.module).items()
        }

    def attached(self) -> tuple[str, ...]:
        """Return the names of what in the state requires a gradient or holds a graph."""
        return self.held

    def after(self, visits: Sequence[Visit]) -> ModuleBox:
        """Return the module as it is after some calls."""
        if not visits:
            return self
        module, held = self._fresh(visits[0].x), self.held
        modes = [(part, part.training) for part in module.modules()]
        evaluating = not module.training
        for visit in visits:
            for part, training in modes:
                part.training = visit.train and (training or evaluating)
            self._visit(module, visit)
            held = tuple(dict.fromkeys((*held, *_cut_off(module))))
        for part, training in modes:
            part.training = training
        return replace(self, module=module, held=held)

    def variant(self, variant: Variant) -> ModuleBox:
        """Return the module run in another way."""
        return replace(self, way=variant)

    def _visit(self, module: nn.Module, visit: Visit) -> None:
        if visit.dy is not None:
            self._run_on(module, visit.x, visit.gamma, visit.beta, visit.dy)
            return
        self._leaves(module, visit.gamma, visit.beta)
        with torch.enable_grad(), alike(self.way.threads):
            module(leaf_of(visit.x, self.way).clone())

    def _run_on(
        self,
        module: nn.Module,
        x: AnyArray,
        gamma: AnyArray | None,
        beta: AnyArray | None,
        dy: AnyArray,
    ) -> Run:
        leaves = {"x": leaf_of(x, self.way), **self._leaves(module, gamma, beta)}
        with torch.enable_grad(), alike(self.way.threads):
            # A module that works in place must not meet the leaf itself.
            run = gradients(self.name, module(leaves["x"].clone()), dy, leaves)
        return Run(run.y, run.dx, _like(run.dgamma, gamma), _like(run.dbeta, beta))

    def _fresh(self, x: AnyArray) -> nn.Module:
        """Copy the module into the format of x, or the one that is asked for."""
        return copy.deepcopy(self.module).to(leaf_of(x[:0], self.way).dtype)

    def _leaves(
        self, module: nn.Module, gamma: AnyArray | None, beta: AnyArray | None
    ) -> dict[str, torch.Tensor]:
        """Give the parameters of a module their values, and return them."""
        values = {"gamma": gamma, "beta": beta}
        leaves = {role: module.get_parameter(name) for role, name in self.parameters.items()}
        with torch.no_grad():
            for role, leaf in leaves.items():
                value = values[role]
                if value is not None:
                    leaf.copy_(torch.from_numpy(value).reshape(leaf.shape))
        return {role: leaf.requires_grad_() for role, leaf in leaves.items()}


def state_of(module: nn.Module) -> dict[str, Any]:
    """Return what a module keeps beside its parameters, under dotted names."""
    found: dict[str, Any] = dict(module.named_buffers())
    found.update(
        (name, value)
        for name, value in module.named_parameters()
        if role_of(name).startswith("running_")
    )
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            if _is_number(value):
                found[f"{prefix}.{name}" if prefix else name] = value
    return found


def _is_number(value: object) -> bool:
    """Whether an attribute is a tensor or a number, and no flag."""
    return isinstance(value, torch.Tensor | int | float) and not isinstance(value, bool)


def _cut_off(module: nn.Module) -> Iterator[str]:
    """Cut the state off any graph, without which no copy can be made; yield what had one."""
    for name, value in state_of(module).items():
        if isinstance(value, torch.Tensor) and value.requires_grad:
            yield name
            if not isinstance(value, torch.nn.Parameter):
                prefix, _, last = name.rpartition(".")
                setattr(module.get_submodule(prefix), last, value.detach().clone())


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
