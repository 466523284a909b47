"""Forward and backward of one batch normalization through autograd, as a training step calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from backnorm.torch.engine import modules

if TYPE_CHECKING:
    from backnorm._types import AnyArray

__all__ = ["LayerStep"]

ROWS = 2
"""Axes of an array of rows, which `BatchNorm1d` takes."""


class LayerStep:
    """A layer in training, its input and what arrives; a call allocates all that it gives.

    Parameters
    ----------
    x, dy
        Input and incoming gradient: (N, C) or (N, C, H, W), in any order in memory.
    gamma, beta
        The layer's parameters: (C,).
    own
        Whether the layer is this package's, or that of torch.nn.
    threads
        How many threads PyTorch uses from here on.
    """

    def __init__(
        self,
        x: AnyArray,
        dy: AnyArray,
        gamma: AnyArray,
        beta: AnyArray,
        *,
        own: bool,
        threads: int,
    ) -> None:
        torch.set_num_threads(threads)
        source = modules if own else torch.nn
        kind = source.BatchNorm1d if x.ndim == ROWS else source.BatchNorm2d
        self._x, self._dy = _tensor(x).requires_grad_(), _tensor(dy)
        self._layer = kind(x.shape[1], dtype=_tensor(gamma).dtype)
        with torch.no_grad():
            self._layer.weight.copy_(_tensor(gamma))
            self._layer.bias.copy_(_tensor(beta))

    def __call__(self) -> torch.Tensor:
        """Run forward and backward, and return y."""
        self._x.grad = None
        self._layer.zero_grad()
        y: torch.Tensor = self._layer(self._x)
        y.backward(self._dy)  # type: ignore[no-untyped-call] # of torch
        return y

    def results(self) -> dict[str, AnyArray]:
        """Return y, dx, dgamma and dbeta of a call, float64."""
        y = self()
        layer = self._layer
        found = {"y": y, "dx": self._x.grad, "dgamma": layer.weight.grad, "dbeta": layer.bias.grad}
        return {
            name: value.detach().double().numpy()
            for name, value in found.items()
            if value is not None
        }


def _tensor(array: AnyArray) -> torch.Tensor:
    """Return a tensor that lies as the array does; bfloat16 comes as NumPy's extension has it."""
    copied = array.copy(order="K")
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(copied.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(copied)
