"""Save and restore the state of a model around a pass."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

__all__ = ["Snapshot", "kept", "put_back", "take_snapshot", "tensors_of", "values_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A tensor that a module holds.

    Attributes
    ----------
    place
        The parameters, the buffers or the attributes of a module, by name.
    name
        The name of the tensor there.
    tensor, value
        The tensor, and a copy of its value.
    is_buffer
        Whether it is a buffer.
    """

    place: dict[str, Any]
    name: str
    tensor: torch.Tensor
    value: torch.Tensor
    is_buffer: bool


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The tensors of a layer at one time, and their values.

    A layer may change values, put another tensor under a name, or hold a tensor from its first
    call on: so names, tensors and values are all kept.
    """

    held: tuple[Held, ...]

    def restore(self) -> None:
        """Give the layer back what it held."""
        names = {(id(one.place), one.name) for one in self.held}
        for place in {id(one.place): one.place for one in self.held}.values():
            for name in [n for n, value in place.items() if isinstance(value, torch.Tensor)]:
                if (id(place), name) not in names:
                    del place[name]
        for one in self.held:
            one.place[one.name] = one.tensor
        leaves = [one for one in self.held if one.tensor.is_leaf]
        put_back([one.tensor for one in leaves], [one.value for one in leaves])

    def value_of(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the value that a tensor had."""
        return next(one.value for one in self.held if one.tensor is tensor)

    def buffers(self) -> dict[str, torch.Tensor]:
        """Return the values of the buffers, by their last names."""
        return {one.name: one.value for one in self.held if one.is_buffer}


def take_snapshot(module: nn.Module) -> Snapshot:
    """Return the tensors of a layer, and copies of their values."""
    return Snapshot(
        tuple(
            Held(place, name, value, value.detach().clone(), is_buffer)
            for part in module.modules()
            for place, is_buffer in _places(part)
            for name, value in place.items()
            if isinstance(value, torch.Tensor)
        )
    )


def _places(module: nn.Module) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield where a module holds tensors, and whether these are buffers."""
    attributes = vars(module)
    yield attributes["_parameters"], False
    yield attributes["_buffers"], True
    yield attributes, False


@contextlib.contextmanager
def kept(model: nn.Module) -> Iterator[None]:
    """Restore attributes, modes, hooks, values, gradients and random numbers afterwards.

    The model itself runs, not a copy: some models cannot be copied, and hooks may hold a reference
    to the model.
    """
    modules = [(module, type(module), _attributes(module)) for module in model.modules()]
    tensors = tensors_of(model)
    values, gradients = values_of(tensors), [tensor.grad for tensor in tensors]
    wanted = [tensor.requires_grad for tensor in tensors]
    numbers, python = np.random.get_state(), random.getstate()  # noqa: NPY002 - what models use
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    for tensor in tensors:
        tensor.grad = None
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        for module, cls, attributes in modules:
            module.__class__ = cls
            _restore(module, attributes)
        put_back(tensors, values)
        for tensor, gradient, asked in zip(tensors, gradients, wanted, strict=True):
            tensor.grad = gradient
            if tensor.is_leaf and tensor.requires_grad is not asked:
                tensor.requires_grad_(asked)
        np.random.set_state(numbers)  # noqa: NPY002
        random.setstate(python)


def tensors_of(model: nn.Module) -> list[torch.Tensor]:
    """Return parameters, buffers, and leaf tensors in plain attributes, each once."""
    plain = (
        value
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, torch.Tensor) and value.is_leaf
    )
    tensors = (*model.parameters(), *model.buffers(), *plain)
    return list({id(tensor): tensor for tensor in tensors}.values())


def values_of(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return copies of the values of tensors."""
    return [tensor.detach().clone() for tensor in tensors]


def put_back(tensors: list[torch.Tensor], values: list[torch.Tensor]) -> None:
    """Restore the values that changed; writing to others would raise their version for autograd."""
    with torch.no_grad():
        for tensor, value in zip(tensors, values, strict=True):
            if not torch.equal(tensor, value):
                tensor.detach().copy_(value)


def _attributes(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Return each attribute, and a copy of it if it is a container."""
    return {name: (value, _inside(value)) for name, value in vars(module).items()}


def _inside(value: Any) -> Any:
    return value.copy() if isinstance(value, dict | list | set) else None


def _restore(module: nn.Module, attributes: dict[str, tuple[Any, Any]]) -> None:
    """Restore the attributes, and the contents of containers in their order."""
    for name in set(vars(module)) - set(attributes):
        del vars(module)[name]
    for name, (value, inside) in attributes.items():
        vars(module)[name] = value
        if isinstance(value, list):
            value[:] = inside
        elif isinstance(value, dict | set):
            value.clear()
            value.update(inside)
