"""The way of plain tensors: straight to the kernels, with a node of autograd and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from backnorm.errors import RangeError
from backnorm.torch.engine import kernels, operator

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm.torch.engine.kernels import CallOptions

__all__ = ["normalize", "only_runs", "overwrite", "plain"]

_keys = torch._C._dispatch_keys


def _plain_keys() -> frozenset[int]:
    """Return the dispatch keys of tensors that are nothing but memory of this process."""
    with torch.inference_mode():
        inference = torch.empty(0, device="cpu")
    return frozenset(_keys(t).raw_repr() for t in (torch.empty(0, device="cpu"), inference))


PLAIN: Final = _plain_keys()


def plain(tensor: torch.Tensor | None) -> bool:
    """Whether a tensor is nothing but memory: no wrapper, lazy copy, device or trace."""
    return tensor is None or (_keys(tensor).raw_repr() in PLAIN and not kernels.is_lazy(tensor))


def only_runs() -> bool:
    """Whether PyTorch just runs what is called: it neither compiles, traces nor transforms it."""
    return not (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or (torch._C._len_torch_function_stack() and not _only_default_device())
        or forward_ad._current_level >= 0
        or torch._C._get_tracing_state() is not None
    )


def _only_default_device() -> bool:
    """Whether all that listens to functions is a default device, which no call here depends on."""
    return all(type(mode) is DeviceContext for mode in _get_current_function_mode_stack())


class _OutOfPlace(_SingleLevelFunction):
    """y in memory of its own."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        residual: torch.Tensor | None,
        options: CallOptions,
    ) -> torch.Tensor:
        """Return y."""
        y, statistics = kernels.forward(
            x, weight, bias, running_mean, running_var, residual, options
        )
        if options.activation == "identity":
            ctx.save_for_backward(x, weight, bias)
        else:
            ctx.save_for_backward(x, weight, bias, y)
        ctx.kept = (statistics, options, residual is None)
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of the tensors."""
        x, weight, bias, *rest = ctx.saved_tensors
        statistics, options, alone = ctx.kept
        of_x, of_weight, of_bias, _, _, of_residual, _ = ctx.needs_input_grad
        wanted = (of_x, of_weight, of_bias, of_residual)
        y = rest[0] if rest else None
        if torch.is_grad_enabled() or not (plain(dy) and plain(x) and only_runs()):
            dx, dweight, dbias, dresidual = operator.gradients(
                dy, x, y, weight, bias, kernels.rows(statistics), options, wanted
            )
        else:
            dx, dweight, dbias, dresidual = kernels.backward(
                dy, x, y, weight, bias, statistics, options, wanted, alone=alone
            )
        return dx, dweight, dbias, None, None, dresidual, None


class _InPlace(_SingleLevelFunction):
    """y in the memory of x, and the gradient from y (Caffe's form)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        options: CallOptions,
    ) -> torch.Tensor:
        """Return x, which holds y now."""
        _, statistics = kernels.forward(
            x, weight, bias, running_mean, running_var, None, options, out=x
        )
        ctx.mark_dirty(x)
        ctx.save_for_backward(x, weight, bias)
        ctx.kept = (statistics, options)
        return x

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of the tensors; there is no further derivative."""
        if torch.is_grad_enabled():
            raise RangeError.no_derivative_in_place()
        y, weight, bias = ctx.saved_tensors
        statistics, options = ctx.kept
        of_x, of_weight, of_bias, *_ = ctx.needs_input_grad
        out = None if options.activation == "identity" else y
        dx, dweight, dbias, _ = kernels.backward(
            dy,
            y,
            out,
            weight,
            bias,
            statistics,
            options,
            (of_x, of_weight, of_bias, False),
            from_output=True,
        )
        return dx, dweight, dbias, None, None, None, None


# Without the checks of torch.autograd.Function for transforms, which `only_runs` has made.
normalize: Callable[..., torch.Tensor] = _OutOfPlace.apply  # type: ignore[attr-defined] # of its base in C++
overwrite: Callable[..., torch.Tensor] = _InPlace.apply  # type: ignore[attr-defined] # the same
