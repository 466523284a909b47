"""Save and restore the state of a model around a pass."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

__all__ = ["kept", "put_back", "tensors_of", "values_of"]


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
