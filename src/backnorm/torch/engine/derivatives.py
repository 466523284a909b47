"""The derivatives of the registered operators: backward, forward mode, and the second order."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad
from torch.autograd.forward_ad import _set_fwd_grad_enabled
from torch.autograd.function import _SingleLevelFunction

from backnorm.errors import RangeError
from backnorm.torch.engine import formula, kernels, memory, schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm.torch.engine.kernels import CallOptions
    from backnorm.torch.engine.schema import Maybe, Tensors

__all__ = ["below_autograd", "primals", "whole_gradient_only"]


@contextlib.contextmanager
def below_autograd() -> Iterator[None]:
    """Dispatch below autograd, with derivatives switched on.

    A node switches derivatives off while its forward runs, but enclosing transforms need theirs.
    """
    with torch.enable_grad(), _set_fwd_grad_enabled(True), torch._C._AutoDispatchBelowAutograd():
        yield


class _Forward(_SingleLevelFunction):
    """The forward pass with its derivatives."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the operator below autograd."""
        with below_autograd():
            y, statistics = schema.FORWARD(*args)
        x, weight, bias = args[:3]
        ctx.options = schema.options(*args[6:])
        activation, residual = ctx.options.activation, args[5]
        # In 16 bits an output that is computed again would not be rounded: it is kept.
        unkept = kernels.can_write(residual, activation) and x.dtype in kernels.RECOMPUTED
        kept = None if activation == "identity" or unkept else y
        saved = (x, weight, bias, statistics, kept)
        ctx.save_for_backward(*saved)
        ctx.save_for_forward(*saved)
        ctx.mark_non_differentiable(statistics)
        ctx.set_materialize_grads(False)
        return y, statistics

    @staticmethod
    def backward(ctx: Any, dy: Maybe, _: Any) -> tuple[Maybe, ...]:
        """Return the gradients of the six tensors, and None for the six options."""
        if dy is None:
            return (None,) * 12
        x, weight, bias, statistics, y = ctx.saved_tensors
        needs = ctx.needs_input_grad
        wanted = (needs[0], needs[1], needs[2], needs[5])
        dx, dweight, dbias, dresidual = schema.gradients(
            dy, x, y, weight, bias, statistics, ctx.options, wanted
        )
        return (dx, dweight, dbias, None, None, dresidual, *(None,) * 6)

    @staticmethod
    def jvp(ctx: Any, *steps: Any) -> tuple[torch.Tensor, None]:
        """Return the step of y."""
        whole_gradient_only(ctx.options)
        with _set_fwd_grad_enabled(True):
            x, weight, bias, statistics, y = primals(ctx)
            y = _output(x, weight, bias, statistics, y, ctx.options)
            k = formula.Channels.of(x, weight, statistics, ctx.options)
            tensor_steps = formula.Steps(steps[0], steps[1], steps[2], steps[5])
            tensor_steps.check("the tangent of {}")
            return formula.tangent(tensor_steps, k, y, ctx.options).to(x.dtype), None


class _Backward(_SingleLevelFunction):
    """The gradient with its derivatives."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensors:
        """Run the operator below autograd."""
        with below_autograd():
            gradients: Tensors = schema.BACKWARD(*args)
        dy, x, y, weight, bias, statistics, *options, wanted = args
        ctx.options = schema.options(*options)
        ctx.wanted = wanted
        ctx.save_for_backward(dy, x, y, weight, bias, statistics)
        ctx.save_for_forward(dy, x, y, weight, bias, statistics)
        ctx.mark_non_differentiable(
            *(g for g, asked in zip(gradients, wanted, strict=True) if not asked)
        )
        ctx.set_materialize_grads(False)
        return gradients

    @staticmethod
    def backward(ctx: Any, *outer: Maybe) -> tuple[Maybe, ...]:
        """Return the gradients of dy, x and the weight, and None for all else."""
        dy, x, y, weight, bias, statistics = ctx.saved_tensors
        whole_gradient_only(ctx.options)
        saved = {"dy": dy, "input": x, "output": y, "weight": weight, "statistics": statistics}
        memory.check(saved)
        steps = formula.Steps(*outer)
        steps.check("the gradient of the gradient of {}")
        y = _output(x, weight, bias, statistics, y, ctx.options)
        k = formula.Channels.of(x, weight, statistics, ctx.options)
        for_dy, for_x, for_weight = formula.second(steps, dy, k, y, ctx.options)
        weight_gradient = None if weight is None else for_weight.to(weight.dtype)
        # An activation depends on the bias, but its slope does not: 0, which PyTorch returns too.
        acts = ctx.options.activation != "identity" and ctx.needs_input_grad[4]
        for_bias = torch.zeros_like(bias) if acts else None
        gradients = (for_dy.to(dy.dtype), for_x.to(x.dtype), None, weight_gradient, for_bias)
        return (*gradients, *(None,) * 8)

    @staticmethod
    def jvp(ctx: Any, *steps: Any) -> tuple[Maybe, ...]:
        """Return the steps of the gradients."""
        whole_gradient_only(ctx.options)
        with _set_fwd_grad_enabled(True):
            dy, x, y, weight, bias, statistics = primals(ctx)
            y = _output(x, weight, bias, statistics, y, ctx.options)
            k = formula.Channels.of(x, weight, statistics, ctx.options)
            tensor_steps = formula.Steps(steps[1], steps[3])
            tensor_steps.check("the tangent of {}")
            memory.check({"the tangent of dy": steps[0]})
            gradient_steps = formula.gradient_tangent(dy, steps[0], tensor_steps, k, y, ctx.options)
        dtypes = (x.dtype, *(x.dtype if weight is None else weight.dtype,) * 2, x.dtype)
        return tuple(
            step.to(dtype) if asked else None
            for step, dtype, asked in zip(gradient_steps, dtypes, ctx.wanted, strict=True)
        )


def primals(ctx: Any) -> Iterator[Any]:
    """Return the saved tensors without their steps at this level; enclosing levels keep theirs."""
    for saved in ctx.saved_tensors:
        yield None if saved is None else forward_ad.unpack_dual(saved, level=0).primal


def _output(
    x: torch.Tensor,
    weight: Maybe,
    bias: Maybe,
    statistics: torch.Tensor,
    y: Maybe,
    options: CallOptions,
) -> Maybe:
    """Return the output as it was kept, or again if it was not; None without an activation."""
    if y is not None or options.activation == "identity":
        return y
    return kernels.output(x, weight, bias, statistics, options).detach()


def whole_gradient_only(options: CallOptions) -> None:
    """Raise if the gradient was cut: its derivative would depend on where."""
    if options.training and options.through != "both":
        raise RangeError.no_further_derivative(options.through)


def _forward_autograd(*args: Any) -> Any:
    with enable_single_level_autograd_function():
        return _Forward.apply(*args)  # type: ignore[attr-defined] # of its base in C++


def _backward_autograd(*args: Any) -> Any:
    with enable_single_level_autograd_function():
        return _Backward.apply(*args)  # type: ignore[attr-defined] # the same


schema.LIBRARY.impl("batch_norm", _forward_autograd, "Autograd")
schema.LIBRARY.impl("batch_norm_backward", _backward_autograd, "Autograd")
