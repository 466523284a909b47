"""The way of plain tensors: straight to the kernels, with a node of autograd and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

from backnorm.errors import RangeError
from backnorm.torch.engine import kernels, operator

if TYPE_CHECKING:
    from backnorm.torch.engine.kernels import Options

__all__ = ["InPlace", "OutOfPlace", "only_runs", "plain"]

_keys = torch._C._dispatch_keys


def _plain_keys() -> frozenset[int]:
    """Return the dispatch keys of tensors that are nothing but memory of this process."""
    with torch.inference_mode():
        inference = torch.empty(0, device="cpu")
    return frozenset(_keys(t).raw_repr() for t in (torch.empty(0, device="cpu"), inference))


PLAIN: Final = _plain_keys()


def plain(tensor: torch.Tensor | None) -> bool:
    """Whether a tensor is nothing but memory: no wrapper, lazy negation, device or trace."""
    return tensor is None or _keys(tensor).raw_repr() in PLAIN


def only_runs() -> bool:
    """Whether PyTorch just runs what is called: it neither compiles, traces nor transforms it."""
    return not (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._len_torch_function_stack()
        or forward_ad._current_level >= 0
        or torch._C._get_tracing_state() is not None
    )


class OutOfPlace(_SingleLevelFunction):
    """y in memory of its own."""

    @staticmethod
    def forward(  # type: ignore[override] # noqa: PLR0917 - autograd passes by position
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        residual: torch.Tensor | None,
        options: Options,
    ) -> torch.Tensor:
        """Return y."""
        y, statistics = kernels.forward(
            x, weight, bias, running_mean, running_var, residual, options
        )
        out = None if options.activation == "identity" else y
        ctx.save_for_backward(x, weight, bias, statistics, out)
        ctx.options = options
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        """Return the gradients of the tensors."""
        x, weight, bias, statistics, y = ctx.saved_tensors
        needs = ctx.needs_input_grad
        wanted = (needs[0], needs[1], needs[2], needs[5])
        if not torch.is_grad_enabled() and plain(dy) and plain(x) and only_runs():
            dx, dweight, dbias, dresidual = kernels.backward(
                dy, x, y, weight, bias, statistics, ctx.options, wanted
            )
        else:
            dx, dweight, dbias, dresidual = operator.gradients(
                dy, x, y, weight, bias, statistics, ctx.options, wanted
            )
        return dx, dweight, dbias, None, None, dresidual, None


class InPlace(_SingleLevelFunction):
    """y in the memory of x, and the gradient from y (Caffe's form)."""

    @staticmethod
    def forward(  # type: ignore[override] # noqa: PLR0917 - autograd passes by position
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        options: Options,
    ) -> torch.Tensor:
        """Return x, which holds y now."""
        _, statistics = kernels.forward(
            x, weight, bias, running_mean, running_var, None, options, out=x
        )
        ctx.mark_dirty(x)
        ctx.save_for_backward(x, weight, bias, statistics)
        ctx.options = options
        return x

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        """Return the gradients of the tensors; there is no further derivative."""
        if torch.is_grad_enabled():
            raise RangeError.no_derivative_in_place()
        y, weight, bias, statistics = ctx.saved_tensors
        needs = ctx.needs_input_grad
        wanted = (needs[0], needs[1], needs[2], False)
        out = None if ctx.options.activation == "identity" else y
        dx, dweight, dbias, _ = kernels.backward(
            dy, y, out, weight, bias, statistics, ctx.options, wanted, from_output=True
        )
        return dx, dweight, dbias, None, None, None
