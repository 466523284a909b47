"""The derivatives of the registered operators of masked calls, and their vmap.

The first derivative is an operator itself. Those above are PyTorch's own, of the formulas of
`weighted` in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd.forward_ad import _set_fwd_grad_enabled
from torch.autograd.function import _SingleLevelFunction

from backnorm.torch.engine import masked_schema, memory, schema, weighted
from backnorm.torch.engine.derivatives import below_autograd, primals, whole_gradient_only
from backnorm.torch.engine.formula import Steps
from backnorm.torch.engine.weighted_tangents import (
    WeightedTangents,
    gradients_tangent,
    output_tangent,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm.torch.engine.schema import Maybe, Tensors

__all__: list[str] = []


class _MaskedForward(_SingleLevelFunction):
    """The masked forward pass with its derivatives."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the operator below autograd."""
        with below_autograd():
            y, statistics = masked_schema.FORWARD(*args)
        x, mask, weight, bias = args[:4]
        ctx.options = schema.options(*args[7:])
        kept = None if ctx.options.activation == "identity" else y
        saved = (x, mask, weight, bias, statistics, kept)
        ctx.save_for_backward(*saved)
        ctx.save_for_forward(*saved)
        ctx.mark_non_differentiable(statistics)
        ctx.set_materialize_grads(False)
        return y, statistics

    @staticmethod
    def backward(ctx: Any, dy: Maybe, _: Any) -> tuple[Maybe, ...]:
        """Return the gradients of the seven tensors, and None for the six options."""
        if dy is None:
            return (None,) * 13
        x, mask, weight, bias, statistics, y = ctx.saved_tensors
        needs = ctx.needs_input_grad
        wanted = [needs[0], needs[2], needs[3], needs[6], needs[1]]
        scalars = schema.in_schema_order(ctx.options)
        found = masked_schema.BACKWARD(dy, x, mask, y, weight, bias, statistics, *scalars, wanted)
        dx, dweight, dbias, dresidual, dmask = (
            g if asked else None for g, asked in zip(found, wanted, strict=True)
        )
        return (dx, dmask, dweight, dbias, None, None, dresidual, *(None,) * 6)

    @staticmethod
    def jvp(ctx: Any, *steps: Any) -> tuple[torch.Tensor, None]:
        """Return the step of y."""
        whole_gradient_only(ctx.options)
        with _set_fwd_grad_enabled(True):
            x, mask, weight, _, statistics, y = primals(ctx)
            k = weighted.WeightedChannels.of(x, mask, weight, statistics, ctx.options)
            tensor_steps = Steps(steps[0], steps[2], steps[3], steps[6])
            tensor_steps.check("the tangent of {}")
            given = WeightedTangents(tensor_steps, steps[1])
            found = output_tangent(given, k, mask, y, ctx.options)
            return found.to(x.dtype), None


class _MaskedBackward(_SingleLevelFunction):
    """The gradient of a masked call with its derivatives."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensors:
        """Run the operator below autograd."""
        with below_autograd():
            gradients: Tensors = masked_schema.BACKWARD(*args)
        dy, x, mask, y, weight, bias, statistics, *options, wanted = args
        ctx.options, ctx.wanted = schema.options(*options), wanted
        saved = (dy, x, mask, y, weight, bias, statistics)
        ctx.save_for_backward(*saved)
        ctx.save_for_forward(*saved)
        ctx.mark_non_differentiable(
            *(g for g, asked in zip(gradients, wanted, strict=True) if not asked)
        )
        ctx.set_materialize_grads(False)
        return gradients

    @staticmethod
    def backward(ctx: Any, *outer: Maybe) -> tuple[Maybe, ...]:
        """Return the gradients of dy, x, the mask and the weight, and None for all else."""
        whole_gradient_only(ctx.options)
        dy, x, mask, y, weight, bias, statistics = ctx.saved_tensors
        memory.check({"dy": dy, "input": x, "mask": mask, "output": y, "weight": weight})
        function, tensors = _of_floats(ctx, (dy, x, mask, y, weight, statistics))
        found, pull, *_ = torch.func.vjp(function, *tensors)
        filled = (
            torch.zeros_like(f) if g is None else g.to(f.dtype)
            for f, g in zip(found, outer, strict=True)
        )
        pulled = iter(pull(tuple(filled)))
        for_dy, for_x = next(pulled), next(pulled)
        for_mask = next(pulled) if mask.is_floating_point() else None
        for_weight = None if weight is None else next(pulled)
        # As for a call without a mask: an activation depends on the bias, its slope does not.
        acts = ctx.options.activation != "identity" and ctx.needs_input_grad[5]
        for_bias = torch.zeros_like(bias) if acts else None
        return (for_dy, for_x, for_mask, None, for_weight, for_bias, *(None,) * 8)

    @staticmethod
    def jvp(ctx: Any, *steps: Any) -> tuple[Maybe, ...]:
        """Return the steps of the gradients."""
        whole_gradient_only(ctx.options)
        with _set_fwd_grad_enabled(True):
            dy, x, mask, y, weight, bias, statistics = primals(ctx)
            k = weighted.WeightedChannels.of(x, mask, weight, statistics, ctx.options)
            given = WeightedTangents(Steps(steps[1], steps[4]), steps[2], steps[0])
            given.tensors.check("the tangent of {}")
            found = gradients_tangent(given, dy, k, mask, y, ctx.options)
        of_weight = x.dtype if weight is None else weight.dtype
        of_bias = x.dtype if bias is None else bias.dtype
        dtypes = (x.dtype, of_weight, of_bias, x.dtype, mask.dtype)
        return tuple(
            step.to(dtype) if asked else None
            for step, dtype, asked in zip(found, dtypes, ctx.wanted, strict=True)
        )


def _of_floats(
    ctx: Any, saved: tuple[Any, ...]
) -> tuple[Callable[..., tuple[torch.Tensor, ...]], tuple[torch.Tensor, ...]]:
    """Return the gradients as a function of dy, x, a mask of weights and the weight; and these."""
    dy, x, mask, y, weight, statistics = saved
    options, has_weights = ctx.options, mask.is_floating_point()

    def function(dy: torch.Tensor, x: torch.Tensor, *others: torch.Tensor) -> Any:
        rest = iter(others)
        of_mask = next(rest) if has_weights else mask
        of_weight = None if weight is None else next(rest)
        k = weighted.WeightedChannels.of(x, of_mask, of_weight, statistics, options)
        return tuple(weighted.gradients(dy, k, of_mask, y, options))

    given = (dy, x, mask if has_weights else None, weight)
    return function, tuple(tensor for tensor in given if tensor is not None)


def _vmap(operator: Any, tensors: int) -> Callable[..., Any]:
    """Return the rule of an operator under vmap: a call for each slice."""

    def rule(info: Any, in_dims: Any, *args: Any) -> Any:
        def at(i: int) -> Any:
            slices = (
                a if dim is None or a is None else a.select(dim, i)
                for a, dim in zip(args[:tensors], in_dims, strict=False)
            )
            return operator(*slices, *args[tensors:])

        calls = [at(i) for i in range(info.batch_size)]
        stacked = tuple(torch.stack(results) for results in zip(*calls, strict=True))
        return stacked, (0,) * len(stacked)

    return rule


def _forward_autograd(*args: Any) -> Any:
    with enable_single_level_autograd_function():
        return _MaskedForward.apply(*args)  # type: ignore[attr-defined] # of its base in C++


def _backward_autograd(*args: Any) -> Any:
    with enable_single_level_autograd_function():
        return _MaskedBackward.apply(*args)  # type: ignore[attr-defined] # the same


schema.LIBRARY.impl("masked_batch_norm", _forward_autograd, "Autograd")
schema.LIBRARY.impl("masked_batch_norm_backward", _backward_autograd, "Autograd")
for name, operator, count in (
    ("backnorm::masked_batch_norm", masked_schema.FORWARD, 7),
    ("backnorm::masked_batch_norm_backward", masked_schema.BACKWARD, 7),
):
    torch.library.register_vmap(name, _vmap(operator, count), lib=schema.LIBRARY)
