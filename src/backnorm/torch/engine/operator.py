"""The registered operators backnorm::batch_norm and backnorm::batch_norm_backward.

They compute what `kernels` computes, but do not touch running statistics. PyTorch sees them
whenever it records or transforms a call: torch.compile, torch.export, torch.func, forward mode,
vmap. When PyTorch only runs a call, `autograd` calls the kernels without the dispatcher.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import torch
from torch._C import _functorch
from torch._functorch.utils import enable_single_level_autograd_function
from torch._prims_common import suggest_memory_format
from torch.autograd import forward_ad
from torch.autograd.forward_ad import _set_fwd_grad_enabled
from torch.autograd.function import _SingleLevelFunction

from backnorm.errors import RangeError
from backnorm.results import StatisticsRow
from backnorm.torch.engine import formula, kernels, memory
from backnorm.torch.engine.kernels import CallOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["BACKWARD", "FORWARD", "batch_norm", "gradients"]

OPTIONS: Final = "bool training, float eps, str activation, float negative_slope, str through"

LIBRARY: Final = torch.library.Library("backnorm", "DEF")

LIBRARY.define(
    "batch_norm(Tensor x, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var,"
    f" Tensor? residual, {OPTIONS}) -> (Tensor, Tensor)"
)
LIBRARY.define(
    "batch_norm_backward(Tensor dy, Tensor x, Tensor? y, Tensor? weight, Tensor? bias,"
    f" Tensor statistics, {OPTIONS}, bool[4] wanted) -> (Tensor, Tensor, Tensor, Tensor)"
)

FORWARD: Final = torch.ops.backnorm.batch_norm.default
BACKWARD: Final = torch.ops.backnorm.batch_norm_backward.default

Tensors = tuple[torch.Tensor, ...]
Maybe = torch.Tensor | None


def batch_norm(
    x: torch.Tensor,
    weight: Maybe,
    bias: Maybe,
    running_mean: Maybe,
    running_var: Maybe,
    residual: Maybe,
    options: CallOptions,
) -> torch.Tensor:
    """Return y by the operator; update running statistics when training."""
    y: torch.Tensor
    y, statistics = FORWARD(
        x, weight, bias, running_mean, running_var, residual, *_in_schema_order(options)
    )
    # Updated here, so that the operator stays functional: torch.compile and the transforms need
    # no rule for an argument that it writes to.
    if options.training and running_mean is not None and running_var is not None:
        n = x.numel() // x.shape[1]
        _move(running_mean, statistics[StatisticsRow.MEAN], options.momentum)
        _move(running_var, statistics[StatisticsRow.VAR] * (n / (n - 1)), options.momentum)
    return y


def _move(running: torch.Tensor, batch: torch.Tensor, momentum: float) -> None:
    """Move running statistics towards those of the batch, bitwise identical to the kernels."""
    guard: Any = contextlib.nullcontext
    if not (torch.compiler.is_compiling() or _functorch.is_functorch_wrapped_tensor(running)):
        # Transforms forbid writing to a tensor that they do not wrap. Running statistics do not
        # enter what the transforms compute, so they are written with the transforms switched off.
        guard = torch._C._DisableFuncTorch
        while _functorch.is_gradtrackingtensor(batch):
            batch = _functorch.get_unwrapped(batch)
    with torch.no_grad(), guard():
        running.copy_((1 - momentum) * running.double() + momentum * batch)


def gradients(
    dy: torch.Tensor,
    x: torch.Tensor,
    y: Maybe,
    weight: Maybe,
    bias: Maybe,
    statistics: torch.Tensor,
    options: CallOptions,
    wanted: Sequence[bool],
) -> tuple[Maybe, ...]:
    """Return dx, dweight, dbias and dresidual by the operator; None for those not wanted."""
    scalars = _in_schema_order(options)
    all_four = BACKWARD(dy, x, y, weight, bias, statistics, *scalars, list(wanted))
    return tuple(g if asked else None for g, asked in zip(all_four, wanted, strict=True))


def _in_schema_order(options: CallOptions) -> tuple[Any, ...]:
    return (
        options.training,
        options.eps,
        options.activation,
        options.negative_slope,
        options.through,
    )


def _options(
    training: bool, eps: float, activation: Any, slope: float, through: Any
) -> CallOptions:
    return CallOptions(training, 0.0, eps, activation, slope, through)


# ---- on the CPU, and on tensors without values


def _forward(
    x: torch.Tensor,
    weight: Maybe,
    bias: Maybe,
    running_mean: Maybe,
    running_var: Maybe,
    residual: Maybe,
    *scalars: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    options = _options(*scalars)
    if options.training:  # they do not enter y, and `batch_norm` above updates them
        memory.check({"running_mean": running_mean, "running_var": running_var})
        running_mean = running_var = None
    weight, bias = _dense(weight, "weight"), _dense(bias, "bias")
    running_mean = _dense(running_mean, "running_mean")
    running_var = _dense(running_var, "running_var")
    x, residual = memory.as_read(x), _read(residual)
    y, statistics = kernels.forward(x, weight, bias, running_mean, running_var, residual, options)
    return y, kernels.rows(statistics)


def _backward(
    dy: torch.Tensor,
    x: torch.Tensor,
    y: Maybe,
    weight: Maybe,
    bias: Maybe,
    statistics: torch.Tensor,
    *scalars: Any,
) -> Tensors:
    *options, wanted = scalars
    weight, bias = _dense(weight, "weight"), _dense(bias, "bias")
    memory.check({"statistics": statistics})
    rows = statistics.numpy(force=True).tobytes()
    dy, x, y = memory.as_read(dy), memory.as_read(x), _read(y)
    gradients = kernels.backward(dy, x, y, weight, bias, rows, _options(*options), tuple(wanted))
    # The schema promises tensors, so an empty one stands for None.
    return tuple(x.new_empty(0) if gradient is None else gradient for gradient in gradients)


def _dense(parameter: Maybe, name: str) -> Maybe:
    """Return a parameter contiguous, as the kernels take it: under vmap it may be a view."""
    if parameter is None:
        return None
    parameter = memory.as_read(parameter)
    if parameter.is_contiguous():
        return parameter
    memory.check({name: parameter})
    return parameter.contiguous()


def _read(array: Maybe) -> Maybe:
    return None if array is None else memory.as_read(array)


def _forward_shapes(x: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.empty_like(x, memory_format=_result_format(x))
    return y, x.new_empty((4, x.shape[1]), dtype=torch.float64)


def _backward_shapes(
    dy: torch.Tensor,
    x: torch.Tensor,
    _y: Maybe,
    weight: Maybe,
    bias: Maybe,
    _statistics: Any,
    *scalars: Any,
) -> Tensors:
    of_x, of_parameters = _result_format(x, dy), torch.preserve_format
    likes = ((x, of_x), (weight, of_parameters), (bias, of_parameters), (x, of_x))
    return tuple(
        x.new_empty(0)
        if like is None or not wanted
        else torch.empty_like(like, memory_format=memory_format)
        for (like, memory_format), wanted in zip(likes, scalars[-1], strict=True)
    )


def _result_format(x: torch.Tensor, dy: Maybe = None) -> torch.memory_format:
    """Return the memory format of `kernels.empty_like`, of tensors that may have no memory."""
    suggested, packed = suggest_memory_format(x), _packed_format(x)
    if packed is None:
        return suggested
    if dy is None:
        return packed
    alike = _packed_format(dy) is not None and suggest_memory_format(dy) is suggested
    return packed if alike else suggested


def _packed_format(x: torch.Tensor) -> torch.memory_format | None:
    """Return the memory format in which a tensor has no gaps."""
    for memory_format in (torch.contiguous_format, kernels.CHANNELS_LAST.get(x.dim())):
        if memory_format is not None and x.is_contiguous(memory_format=memory_format):
            return memory_format
    return None


# ---- derivatives


@contextlib.contextmanager
def _below_autograd() -> Iterator[None]:
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
        with _below_autograd():
            y, statistics = FORWARD(*args)
        x, weight, bias = args[:3]
        ctx.options = _options(*args[6:])
        saved = (x, weight, bias, statistics, None if ctx.options.activation == "identity" else y)
        ctx.save_for_backward(*saved)
        ctx.save_for_forward(*saved)
        ctx.mark_non_differentiable(statistics)
        ctx.set_materialize_grads(False)
        return y, statistics

    @staticmethod
    def backward(ctx: Any, dy: Maybe, _: Any) -> tuple[Maybe, ...]:
        """Return the gradients of the six tensors, and None for the five options."""
        if dy is None:
            return (None,) * 11
        x, weight, bias, statistics, y = ctx.saved_tensors
        needs = ctx.needs_input_grad
        wanted = (needs[0], needs[1], needs[2], needs[5])
        dx, dweight, dbias, dresidual = gradients(
            dy, x, y, weight, bias, statistics, ctx.options, wanted
        )
        return (dx, dweight, dbias, None, None, dresidual, *(None,) * 5)

    @staticmethod
    def jvp(ctx: Any, *steps: Any) -> tuple[torch.Tensor, None]:
        """Return the step of y."""
        _whole_gradient_only(ctx.options)
        with _set_fwd_grad_enabled(True):
            x, weight, _, statistics, y = _primals(ctx)
            k = formula.Channels.of(x, weight, statistics, ctx.options)
            tensor_steps = formula.Steps(steps[0], steps[1], steps[2], steps[5])
            tensor_steps.check("the tangent of {}")
            return formula.tangent(tensor_steps, k, y, ctx.options).to(x.dtype), None


class _Backward(_SingleLevelFunction):
    """The gradient with its derivatives."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensors:
        """Run the operator below autograd."""
        with _below_autograd():
            gradients: Tensors = BACKWARD(*args)
        dy, x, y, weight, _, statistics, *options, wanted = args
        ctx.options = _options(*options)
        ctx.wanted = wanted
        ctx.save_for_backward(dy, x, y, weight, statistics)
        ctx.save_for_forward(dy, x, y, weight, statistics)
        ctx.mark_non_differentiable(
            *(g for g, asked in zip(gradients, wanted, strict=True) if not asked)
        )
        ctx.set_materialize_grads(False)
        return gradients

    @staticmethod
    def backward(ctx: Any, *outer: Maybe) -> tuple[Maybe, ...]:
        """Return the gradients of dy, x and the weight, and None for all else."""
        dy, x, y, weight, statistics = ctx.saved_tensors
        _whole_gradient_only(ctx.options)
        saved = {"dy": dy, "input": x, "output": y, "weight": weight, "statistics": statistics}
        memory.check(saved)
        steps = formula.Steps(*outer)
        steps.check("the gradient of the gradient of {}")
        k = formula.Channels.of(x, weight, statistics, ctx.options)
        for_dy, for_x, for_weight = formula.second(steps, dy, k, y, ctx.options)
        weight_gradient = None if weight is None else for_weight.to(weight.dtype)
        return (for_dy.to(dy.dtype), for_x.to(x.dtype), None, weight_gradient, *(None,) * 8)

    @staticmethod
    def jvp(ctx: Any, *steps: Any) -> tuple[Maybe, ...]:
        """Return the steps of the gradients."""
        _whole_gradient_only(ctx.options)
        with _set_fwd_grad_enabled(True):
            dy, x, y, weight, statistics = _primals(ctx)
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


def _primals(ctx: Any) -> Iterator[Any]:
    """Return the saved tensors without their steps at this level; enclosing levels keep theirs."""
    for saved in ctx.saved_tensors:
        yield None if saved is None else forward_ad.unpack_dual(saved, level=0).primal


def _whole_gradient_only(options: CallOptions) -> None:
    if options.training and options.through != "both":
        raise RangeError.no_further_derivative(options.through)


def _forward_autograd(*args: Any) -> Any:
    with enable_single_level_autograd_function():
        return _Forward.apply(*args)  # type: ignore[attr-defined] # of its base in C++


def _backward_autograd(*args: Any) -> Any:
    with enable_single_level_autograd_function():
        return _Backward.apply(*args)  # type: ignore[attr-defined] # the same


# ---- vmap: the mapped dimension becomes part of the channels, since no channel depends on another.
# So a mapped call is one call of the kernels, on an array of shape (N, size*C, ...)


def _forward_vmap(info: Any, in_dims: Any, *args: Any) -> Any:
    size = info.batch_size
    x, residual = (_with_channels(args[i], in_dims[i], size) for i in (0, 5))
    channels = (_as_channels(args[i], in_dims[i], size) for i in range(1, 5))
    y, statistics = FORWARD(x, *channels, residual, *args[6:])
    return (_split(y, size), _split(statistics, size)), (1, 1)


def _backward_vmap(info: Any, in_dims: Any, *args: Any) -> Any:
    size = info.batch_size
    dy, x, y = (_with_channels(args[i], in_dims[i], size) for i in range(3))
    weight, bias = (_as_channels(args[i], in_dims[i], size) for i in (3, 4))
    statistics = _with_channels(args[5], in_dims[5], size)
    *options, wanted = args[6:]
    present = (True, weight is not None, bias is not None, True)
    wanted = [asked and has for asked, has in zip(wanted, present, strict=True)]
    gradients = BACKWARD(dy, x, y, weight, bias, statistics, *options, wanted)
    axes = (1, 0, 0, 1)
    mapped = tuple(
        _split(g, size, axis) if asked else g
        for g, axis, asked in zip(gradients, axes, wanted, strict=True)
    )
    return mapped, tuple(axis if asked else None for axis, asked in zip(axes, wanted, strict=True))


def _with_channels(array: Maybe, dim: int | None, size: int) -> Maybe:
    """Return (N, size*C, ...) for an array (N, C, ...) whose mapped dimension is dim, or None."""
    if array is None:
        return None
    if dim is None:
        whole = array.unsqueeze(1).expand(array.shape[0], size, *array.shape[1:])
    else:
        whole = array.movedim(dim, 1)
    return whole.flatten(1, 2)


def _as_channels(parameter: Maybe, dim: int | None, size: int) -> Maybe:
    if parameter is None:
        return None
    whole = parameter.expand(size, -1) if dim is None else parameter.movedim(dim, 0)
    return whole.reshape(-1)


def _split(array: torch.Tensor, size: int, axis: int = 1) -> torch.Tensor:
    whole: torch.Tensor = array.unflatten(axis, (size, -1))
    return whole


# ---- registration

LIBRARY.impl("batch_norm", _forward, "CPU")
LIBRARY.impl("batch_norm_backward", _backward, "CPU")
LIBRARY.impl("batch_norm", _forward_autograd, "Autograd")
LIBRARY.impl("batch_norm_backward", _backward_autograd, "Autograd")
torch.library.register_fake("backnorm::batch_norm", _forward_shapes, lib=LIBRARY)
torch.library.register_fake("backnorm::batch_norm_backward", _backward_shapes, lib=LIBRARY)
torch.library.register_vmap("backnorm::batch_norm", _forward_vmap, lib=LIBRARY)
torch.library.register_vmap("backnorm::batch_norm_backward", _backward_vmap, lib=LIBRARY)
