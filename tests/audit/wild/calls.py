"""What a layer in this folder computes, and the slope of that, without backnorm.

Everything is in float64. A layer is called from the same state each time.
"""

from __future__ import annotations

import copy
import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from audit.wild.entry import Wild

__all__ = ["Call", "call_of", "layer", "leaves_of", "slope"]

STEP = 1e-4
"""Of the numerical derivative, as a share of a direction: its formula errs by 1e-13."""


def layer(name: str) -> Any:
    """Import what a name in the table stands for."""
    area, _, what = name.partition(":")
    if area != "numpy_pairs":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    return getattr(import_module(f"audit.wild.{area}"), what)


class Call:
    """A layer in one mode, called with arrays by the names of its parameters."""

    def __init__(self, parameters: Mapping[str, tuple[int, ...]]) -> None:
        self.parameters = dict(parameters)

    def forward(self, leaves: Mapping[str, Any]) -> Any:
        """Return y."""
        raise NotImplementedError

    def gradients(self, leaves: Mapping[str, Any], dy: Any) -> dict[str, Any]:
        """Return the gradients of sum(y*dy) that the layer gives."""
        raise NotImplementedError


class PairCall(Call):
    """A NumPy pair."""

    def __init__(self, cls: Any, wild: Wild, *, train: bool) -> None:
        self.pair = cls()
        names = ("gamma", "beta") if getattr(cls, "has_beta", True) else ("gamma",)
        super().__init__(dict.fromkeys(names, (wild.channels,)))
        if hasattr(self.pair, "training"):
            ramp = np.linspace(-1, 1, wild.channels)
            self.pair.running_mean, self.pair.running_var = ramp, ramp**2 + 0.5
            self.pair.training = train

    def forward(self, leaves: Mapping[str, Any]) -> Any:
        """Return y."""
        return self._run(copy.deepcopy(self.pair), leaves)[0]

    def gradients(self, leaves: Mapping[str, Any], dy: Any) -> dict[str, Any]:
        """Return what the backward pass gives."""
        pair = copy.deepcopy(self.pair)
        _, cache = self._run(pair, leaves)
        found = zip(("x", "gamma", "beta"), pair.backward(dy.copy(), cache), strict=True)
        return {name: gradient for name, gradient in found if gradient is not None}

    def _run(self, pair: Any, leaves: Mapping[str, Any]) -> Any:
        return pair.forward(*(leaves.get(name) for name in ("x", "gamma", "beta")))


class TorchCall(Call):
    """What autograd differentiates: y by x and parameters."""

    def forward(self, leaves: Mapping[str, Any]) -> Any:
        """Return y."""
        return self._y(self._tensors(leaves)).detach().numpy()

    def gradients(self, leaves: Mapping[str, Any], dy: Any) -> dict[str, Any]:
        """Return what autograd gives; nothing where y does not depend on a leaf."""
        import torch  # noqa: PLC0415

        given = self._tensors(leaves)
        y = self._y(given)
        wanted = list(given.values())
        found = torch.autograd.grad(y, wanted, torch.from_numpy(dy), allow_unused=True)
        zeros = {name: np.zeros(tensor.shape) for name, tensor in given.items()}
        reached = {n: g.numpy() for n, g in zip(given, found, strict=True) if g is not None}
        return {**zeros, **reached}

    def _tensors(self, leaves: Mapping[str, Any]) -> dict[str, Any]:
        import torch  # noqa: PLC0415

        return {n: torch.from_numpy(v.copy()).requires_grad_() for n, v in leaves.items()}

    def _y(self, given: Mapping[str, Any]) -> Any:
        raise NotImplementedError


class ModuleCall(TorchCall):
    """A module, which has seen another batch before."""

    def __init__(self, cls: Any, wild: Wild, *, train: bool) -> None:
        import torch  # noqa: PLC0415

        module = cls(*_arguments(cls, wild)).double().train()
        earlier = np.random.default_rng(5).standard_normal(wild.shape) * 1.5 + 0.5
        with torch.no_grad():
            module(torch.from_numpy(earlier))
        self.module = module.train(train)
        named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        super().__init__({name: tuple(parameter.shape) for name, parameter in named})

    def _y(self, given: Mapping[str, Any]) -> Any:
        import torch  # noqa: PLC0415

        torch.manual_seed(0)
        module = copy.deepcopy(self.module)
        parameters = {name: given[name] for name in self.parameters}
        return torch.func.functional_call(module, parameters, (given["x"].clone(),))


class FunctionCall(TorchCall):
    """A function of tensors, or an autograd.Function."""

    def __init__(self, function: Any, wild: Wild, *, train: bool) -> None:
        self.function = function
        self.rest: list[Any] = []
        names: list[str] = []
        if isinstance(function, type):
            import torch  # noqa: PLC0415

            self.function = function.apply  # type: ignore[attr-defined]
            names = list(inspect.signature(function.forward).parameters)[2:]  # type: ignore[attr-defined]
            if "training" in names:
                ramp = torch.linspace(-1, 1, wild.channels, dtype=torch.float64)
                self.rest, names = [ramp, ramp**2 + 0.5, train], names[:2]
        super().__init__(dict.fromkeys(names, (wild.channels,)))

    def _y(self, given: Mapping[str, Any]) -> Any:
        x, *parameters = given.values()
        return self.function(x.clone(), *parameters, *self.rest)


def call_of(name: str, wild: Wild, *, train: bool) -> Call:
    """Return how a layer is called."""
    candidate = layer(name)
    if name.startswith("numpy_pairs:"):
        return PairCall(candidate, wild, train=train)
    import torch  # noqa: PLC0415

    if isinstance(candidate, type) and issubclass(candidate, torch.nn.Module):
        return ModuleCall(candidate, wild, train=train)
    return FunctionCall(candidate, wild, train=train)


def leaves_of(call: Call, wild: Wild, scale: float) -> dict[str, Any]:
    """Return x around means of 2 deviations, and parameters away from 0."""
    rng = np.random.default_rng(7)
    shape = wild.shape
    mean = rng.uniform(1.0, 2.0, (shape[0], *[1] * (len(shape) - 2), shape[-1]))
    leaves = {"x": scale * (mean + rng.standard_normal(shape))}
    for name, size in call.parameters.items():
        leaves[name] = rng.uniform(0.5, 1.5, size) * rng.choice([-1.0, 1.0], size)
    return leaves


def slope(call: Call, leaves: Mapping[str, Any], along: Mapping[str, Any], dy: Any) -> float:
    """Return how sum(y*dy) changes along a direction, by a formula of fourth order."""
    found = 0.0
    for steps, weight in ((1, 8.0), (-1, -8.0), (2, -1.0), (-2, 1.0)):
        moved = {
            n: leaves[n] + steps * STEP * along[n] if n in along else leaves[n] for n in leaves
        }
        found += weight * float(np.sum(call.forward(moved) * dy))
    return found / (12 * STEP)


def _arguments(cls: Any, wild: Wild) -> list[Any]:
    """Return the arguments of the table, or a number of channels for each that has no default."""
    if wild.arguments is not None:
        return list(wild.arguments)
    given = inspect.signature(cls).parameters.values()
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [p for p in given if p.default is p.empty and p.kind not in variable]
    return [wild.channels for _ in needed]
