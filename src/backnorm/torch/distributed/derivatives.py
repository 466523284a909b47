"""The derivatives of the synchronized operators. That of the gradient is an operator too.

It has a collective inside, as the others have, and no further derivative.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd.function import _SingleLevelFunction

from backnorm.errors import NotSupportedError, RangeError
from backnorm.torch.distributed import exchange, operators
from backnorm.torch.distributed.parts import Law
from backnorm.torch.distributed.second import SUMS, Part
from backnorm.torch.engine import memory, schema
from backnorm.torch.engine.derivatives import below_autograd
from backnorm.torch.engine.formula import Steps, grad_through_activation

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm.torch.engine.schema import Maybe, Tensors

__all__: list[str] = []

schema.LIBRARY.define(
    "sync_batch_norm_second(Tensor? of_dx, Tensor? of_dweight, Tensor? of_dbias,"
    " Tensor? of_dresidual, Tensor dy, Tensor x, Tensor? y, Tensor? weight, Tensor? mask,"
    f" Tensor statistics, bool reduce_parameters, str group, {operators.LAW})"
    " -> (Tensor, Tensor, Tensor)"
)
SECOND: Final = torch.ops.backnorm.sync_batch_norm_second.default


def _second(
    of_dx: Maybe,
    of_dweight: Maybe,
    of_dbias: Maybe,
    of_dresidual: Maybe,
    dy: torch.Tensor,
    x: torch.Tensor,
    y: Maybe,
    weight: Maybe,
    mask: Maybe,
    statistics: torch.Tensor,
    reduce_parameters: bool,
    group: str,
    *scalars: Any,
) -> Tensors:
    law = Law(*scalars)
    own: list[Any] = []

    def compute() -> torch.Tensor:
        outer = Steps(of_dx, of_dweight, of_dbias, of_dresidual)
        outer.check("the gradient of the gradient of {}")
        memory.check({"dy": dy, "input": x, "output": y, "weight": weight, "mask": mask})
        u, v, *given = operators.counting((of_dx, of_dresidual, dy, x, y), mask)
        outer = Steps(u, of_dweight, of_dbias, v)
        dz = grad_through_activation(given[0].double(), given[2], law)
        part = Part.of(outer, dz, given[1], weight, statistics, reduce_parameters=reduce_parameters)
        own[:] = part, given[2]
        return part.sums()

    sums = exchange.add_floats(compute, (SUMS, statistics.shape[1]), group)
    part, counting_y = own
    for_dy, for_x, for_weight = part.gradients(sums, counting_y, law)
    return (
        operators.between_zeros(for_dy.to(dy.dtype), dy, mask),
        operators.between_zeros(for_x.to(x.dtype), x, mask),
        x.new_empty(0) if weight is None else for_weight.to(weight.dtype),
    )


def _second_shapes(*arguments: Any) -> Tensors:
    dy, x, _, weight, *_ = arguments[4:]
    for_weight = x.new_empty(0) if weight is None else torch.empty_like(weight)
    return torch.empty_like(dy), torch.empty_like(x), for_weight


def _keep_forward(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
    x, weight, bias, _, mask, layer, _, _, *ctx.scalars = inputs
    y, statistics, sums = output
    law = Law(*ctx.scalars[2:])
    ctx.mark_non_differentiable(statistics, sums)
    ctx.set_materialize_grads(False)
    kept = None if law.activation == "identity" else y
    ctx.save_for_backward(x, kept, weight, bias, mask, statistics, layer)


def _of_forward(ctx: Any, dy: Maybe, *_: Any) -> tuple[Any, ...]:
    nothing = (None,) * (4 + len(ctx.scalars))
    if dy is None:
        return (*(None,) * 4, *nothing)
    wanted = list(ctx.needs_input_grad[:4])
    gradients = operators.BACKWARD(dy, *ctx.saved_tensors, *ctx.scalars, wanted)
    given = [g if asked else None for g, asked in zip(gradients, wanted, strict=True)]
    return (*given, *nothing)


def _keep_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
    dy, x, y, weight, bias, mask, statistics, _, *ctx.scalars, ctx.wanted = inputs
    unasked = [g for g, asked in zip(output, ctx.wanted, strict=True) if not asked]
    ctx.mark_non_differentiable(*unasked)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(dy, x, y, weight, mask, statistics)
    ctx.bias = bias


def _of_backward(ctx: Any, *outer: Maybe) -> tuple[Any, ...]:
    dy, x, y, weight, mask, statistics = ctx.saved_tensors
    law = Law(*ctx.scalars[2:])
    if law.through != "both":
        raise RangeError.no_further_derivative(law.through)
    gradients = SECOND(*outer, dy, x, y, weight, mask, statistics, *ctx.scalars)
    for_dy, for_x, for_weight = gradients
    # An activation depends on the bias, but its slope does not: 0, which PyTorch returns too.
    acts = law.activation != "identity" and ctx.needs_input_grad[4]
    for_bias = torch.zeros_like(ctx.bias) if acts else None
    of_tensors = (for_dy, for_x, None, None if weight is None else for_weight, for_bias)
    return (*of_tensors, *(None,) * (4 + len(ctx.scalars)))


def _of_second(*_: Any) -> None:
    raise NotSupportedError.third_synchronized()


def _keep_nothing(ctx: Any, *_: Any) -> None:
    ctx.set_materialize_grads(False)


def _differentiable(operator: Any, keep: Any, gradient: Any) -> Callable[..., Any]:
    """Return the operator as a node of autograd, which transforms of torch.func take too."""

    class _Synchronized(_SingleLevelFunction):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Any:
            with below_autograd():
                results = operator(*args)
            keep(ctx, args, results)
            return results

        @staticmethod
        def backward(ctx: Any, *outer: Maybe) -> Any:
            return gradient(ctx, *outer)

    def call(*args: Any) -> Any:
        with enable_single_level_autograd_function():
            return _Synchronized.apply(*args)  # type: ignore[attr-defined] # of its base in C++

    return call


schema.LIBRARY.impl("sync_batch_norm_second", _second, "CPU")
torch.library.register_fake("backnorm::sync_batch_norm_second", _second_shapes, lib=schema.LIBRARY)
for name, operator, keep, gradient in (
    ("sync_batch_norm", operators.FORWARD, _keep_forward, _of_forward),
    ("sync_batch_norm_backward", operators.BACKWARD, _keep_backward, _of_backward),
    ("sync_batch_norm_second", SECOND, _keep_nothing, _of_second),
):
    schema.LIBRARY.impl(name, _differentiable(operator, keep, gradient), "Autograd")
