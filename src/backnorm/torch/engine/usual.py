"""The usual call of a layer: in C++ from the layer to the node of autograd, and in the node.

What is not usual takes the way through Python, which decides about everything: `functional`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch.autograd import forward_ad

from backnorm.torch.engine import autograd, kernels, memory

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["layer"]


def _unusual(*_: Any) -> None:
    return None


layer: Final[Callable[..., Any]] = kernels.usual_layer if kernels.available() else _unusual
"""y of a layer and of x; None, before anything was written, of an unusual call."""

SPECIAL: Final = (
    memory.is_lazy,
    torch.Tensor.is_neg,
    *(getattr(torch.Tensor, name) for name in ("has_names",) if hasattr(torch.Tensor, name)),
)
"""What tells tensors on the CPU that are not what their memory holds; PyTorch 2.13 has no names."""

if kernels.available():
    kernels.use_framework(
        {
            "tensor": torch.Tensor,
            "parameter": torch.nn.Parameter,
            "special": SPECIAL,
            "quiet": autograd.QUIET,
            "levels": vars(forward_ad),
            "apply": autograd.normalize,
            "options": kernels.CallOptions,
            "saved": autograd.SavedCall,
            "slope": 0.01,
            "empty_like": torch.empty_like,
            "allocate": kernels.empty_like,
            "threads": torch.get_num_threads,
            "grad_enabled": torch.is_grad_enabled,
            "function_modes": torch._C._is_torch_function_mode_enabled,
        }
    )
