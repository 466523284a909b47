"""What the tests here run on: seeded tensors in named layouts, and comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from backnorm.testing.budget import FRAMEWORK_PARTS, parts
from backnorm.testing.cases import LAYOUTS, dtype_of, make
from backnorm.torch import batch_norm
from backnorm.torch.engine import kernels

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Shape
    from backnorm.testing.cases import Batch

needs_engine = pytest.mark.skipif(not kernels.available(), reason="the C++ part is not built")

VIEWS = tuple(name for name in LAYOUTS if name != "backwards")
"""The layouts that a tensor can have: it has no negative strides."""

MEMORY = {
    "rows": ((4, 3), torch.contiguous_format),
    "sequences": ((3, 3, 4), torch.contiguous_format),
    "contiguous": ((3, 3, 2, 3), torch.contiguous_format),
    "channels last": ((3, 3, 2, 3), torch.channels_last),
    "channels last, volumes": ((2, 3, 2, 2, 3), torch.channels_last_3d),
}
"""Shapes and memory formats, small enough for numerical derivatives."""


@dataclass(frozen=True, eq=False)
class Tensors:
    """One input of `batch_norm` with everything that may be asked about it."""

    x: torch.Tensor
    dy: torch.Tensor
    residual: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    running_mean: torch.Tensor
    running_var: torch.Tensor

    def run(self, **others: Any) -> torch.Tensor:
        """Run the engine with weight and bias, in training."""
        keywords = {"weight": self.weight, "bias": self.bias, "training": True} | others
        running_mean = keywords.pop("running_mean", None)
        running_var = keywords.pop("running_var", None)
        return batch_norm(self.x, running_mean, running_var, **keywords)

    def frozen(self, mode: str) -> dict[str, Any]:
        """Return the arguments that one of cases.MODES takes."""
        if mode == "batch":
            return {"training": True}
        running = {"running_mean": self.running_mean, "running_var": self.running_var}
        return {"training": False, **running}


def drawn(shape: Shape, dtype: str = "float64", layout: str = "contiguous", **draw: Any) -> Tensors:
    """Draw a batch, and lay it out; nothing requires a gradient."""
    return placed(make(shape, dtype, **draw), layout)


def placed(batch: Batch, layout: str = "contiguous") -> Tensors:
    """Return a batch of the engine's cases as tensors in one of VIEWS."""
    batch = batch.laid_out(layout)
    kept = batch.gamma.dtype
    running = (array.astype(kept) for array in (batch.running_mean, batch.running_var))
    arrays = (batch.x, batch.dy, batch.residual, batch.gamma, batch.beta, *running)
    return Tensors(*map(tensor, arrays))


def tensor(array: AnyArray) -> torch.Tensor:
    """Return a tensor that shares an array's memory, bfloat16 too."""
    if array.dtype == np.dtype(bool) or array.dtype.name != "bfloat16":
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)


def array(value: torch.Tensor | None) -> AnyArray:
    """Return a tensor's values as an array, bfloat16 too."""
    assert value is not None
    value = value.detach().resolve_neg()
    if value.dtype == torch.bfloat16:
        return value.contiguous().view(torch.int16).numpy().view(dtype_of("bfloat16"))
    return value.numpy()


def assert_like(got: torch.Tensor, want: torch.Tensor) -> None:
    """Assert the same shape and format, and values as near as other sums of the same are."""
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    allowed = FRAMEWORK_PARTS[str(want.dtype).removeprefix("torch.")]
    off = parts(array(got), array(want))
    assert off <= allowed, f"off by {off:.2g} of the largest value, allowed {allowed:.2g}"


def leaves(*values: torch.Tensor) -> list[torch.Tensor]:
    """Return detached tensors of the same strides that require a gradient."""
    return [value.detach().requires_grad_() for value in values]


def act(z: torch.Tensor, activation: str, negative_slope: float = 0.125) -> torch.Tensor:
    """Apply an activation by PyTorch's own functions."""
    if activation == "identity":
        return z
    slope = (negative_slope,) if activation == "leaky_relu" else ()
    result: torch.Tensor = getattr(torch.nn.functional, activation)(z, *slope)
    return result


def composed(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running_mean: torch.Tensor | None = None,
    running_var: torch.Tensor | None = None,
    *,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Normalize by plain operations, which PyTorch differentiates as often as one likes."""
    axes = [axis for axis in range(x.dim()) if axis != 1]
    spread = (1, -1) + (1,) * (x.dim() - 2)
    if running_mean is None or running_var is None:
        mean = x.mean(axes, keepdim=True)
        var = ((x - mean) ** 2).mean(axes, keepdim=True)
    else:
        mean, var = running_mean.view(spread), running_var.view(spread)
    z = (x - mean) / (var + eps).sqrt()
    if weight is not None:
        z = z * weight.view(spread)
    return z if bias is None else z + bias.view(spread)
