"""Forward and backward of one batch normalization through autograd, as in a training step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from backnorm.torch.engine import modules

if TYPE_CHECKING:
    from backnorm._types import AnyArray

__all__ = ["LayerStep"]

ROWS = 2
"""Number of axes of (N, C), the input of `BatchNorm1d`."""


class LayerStep:
    """A layer in training mode with its input and dy; each call allocates its results anew.

    Parameters
    ----------
    x, dy
        Input and gradient of the output: (N, C) or (N, C, H, W), in any memory layout.
    gamma, beta
        Parameters of the layer: (C,).
    own
        Whether the layer is backnorm's; otherwise it is that of torch.nn.
    threads
        Number of threads that PyTorch uses from now on.
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
        cls = source.BatchNorm1d if x.ndim == ROWS else source.BatchNorm2d
        self._x, self._dy = _tensor(x).requires_grad_(), _tensor(dy)
        self._layer = cls(x.shape[1], dtype=_tensor(gamma).dtype)
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
        tensors = {
            "y": y,
            "dx": self._x.grad,
            "dgamma": layer.weight.grad,
            "dbeta": layer.bias.grad,
        }
        return {
            name: tensor.detach().double().numpy()
            for name, tensor in tensors.items()
            if tensor is not None
        }


def _tensor(array: AnyArray) -> torch.Tensor:
    """Return a tensor with the memory layout of an array; ml_dtypes' bfloat16 becomes torch's."""
    copied = array.copy(order="K")
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(copied.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(copied)
