"""Plain tensors go straight to the C++ kernels, with a single node of autograd around the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from backnorm.errors import RangeError
from backnorm.kernels.memory import LARGE
from backnorm.torch.engine import kernels, schema
from backnorm.torch.engine.memory import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm.torch.engine.kernels import CallOptions

__all__ = [
    "QUIET",
    "SavedCall",
    "normalize",
    "only_default_device",
    "only_runs",
    "overwrite",
    "runs_backward",
    "transforms_active",
]


# Looked up once: each call of a layer asks all of these.
_is_compiling = torch.compiler.is_compiling
_transforms_active = torch._C._are_functorch_transforms_active
_dispatch_modes = torch._C._len_torch_dispatch_stack
_function_modes = torch._C._len_torch_function_stack
_tracing_state = torch._C._get_tracing_state


QUIET: Final = (_transforms_active, _dispatch_modes, _function_modes, _tracing_state)
"""Functions that all return 0, False or None while PyTorch only runs calls, in no mode."""


def only_runs() -> bool:
    """Whether PyTorch only runs the call: it neither compiles, traces nor transforms it."""
    return not (
        _is_compiling()
        or _transforms_active()
        or _dispatch_modes()
        or not only_default_device()
        or forward_ad._current_level >= 0
        or _tracing_state() is not None
    )


def runs_backward() -> bool:
    """Whether a backward pass runs, which repeats forward passes that were checkpointed."""
    return torch._C._current_graph_task_id() != -1


def transforms_active() -> bool:
    """Whether a transform of torch.func runs."""
    return not _is_compiling() and _transforms_active()


def only_default_device() -> bool:
    """Whether each active function mode is a default device, on which no call here depends."""
    return not _function_modes() or all(
        type(mode) is DeviceContext for mode in _get_current_function_mode_stack()
    )


class SavedCall(NamedTuple):
    """What the backward pass needs beside tensors that must not be written to.

    Attributes
    ----------
    statistics, options
        As the kernels take them.
    bias, then
        The bias, and its values in the forward pass if the output is computed again.
    again
        Whether it is, where the kernels can.
    """

    statistics: bytes
    options: CallOptions
    bias: torch.Tensor | None
    then: torch.Tensor | None
    again: bool


class _Valued(_SingleLevelFunction):
    """The values that a tensor had, in its place in the graph; what it holds now is not read."""

    @staticmethod
    def forward(_: Any, now: torch.Tensor, then: torch.Tensor) -> torch.Tensor:  # noqa: ARG004
        """Return the values."""
        return then.clone()

    @staticmethod
    def backward(_: Any, dy: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return the gradient of the tensor."""
        return dy, None


class _OutOfPlace(_SingleLevelFunction):
    """Normalization that leaves x as it is: y has separate memory."""

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
        usual: torch.Tensor | None = kernels.node_forward(
            ctx, x, weight, bias, running_mean, running_var, residual, options
        )
        if usual is not None:
            return usual
        y, statistics = kernels.forward(
            x, weight, bias, running_mean, running_var, residual, options
        )
        activation = options.activation
        if activation == "identity" or kernels.can_write(residual, activation):
            ctx.save_for_backward(x, weight)
        else:
            ctx.save_for_backward(x, weight, y)
        # The bias is not saved: it may be changed or freed before the backward pass, as PyTorch
        # allows. Where y is computed again, its values are kept.
        again = residual is None and activation != "identity"
        again = again and (x.nbytes >= LARGE or kernels.can_write(residual, activation))
        then = bias.clone() if again and bias is not None else bias
        ctx.forward_call = SavedCall(statistics, options, bias, then, again)
        if again and x.dtype not in kernels.RECOMPUTED and not options.training:
            ctx.running = [None if r is None else r.clone() for r in (running_mean, running_var)]
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of the tensors."""
        saved, call, wanted = ctx.saved_tensors, ctx.forward_call, ctx.needs_input_grad
        if not _is_compiling():
            usual: tuple[torch.Tensor | None, ...] | None
            usual = kernels.node_backward(dy, saved, call, wanted)
            if usual is not None:
                return usual
        x, weight, *saved_y = saved
        statistics, options, bias, then, again = call
        y = saved_y[0] if saved_y else None
        if y is None and again and x.dtype not in kernels.RECOMPUTED:
            mean, var = (None, None) if options.training else ctx.running
            with torch.no_grad():
                y, _ = kernels.forward(x, weight, then, mean, var, None, options)
        linked = torch.is_grad_enabled() and then is not bias
        bias = _Valued.apply(bias, then) if linked else then  # type: ignore[attr-defined] # of its base in C++
        of_x, of_weight, of_bias, _, _, of_residual, _ = wanted
        wanted = (of_x, of_weight, of_bias, of_residual)
        # With gradients enabled somebody differentiates this gradient again (create_graph). The
        # operator can be differentiated, the kernel cannot.
        if torch.is_grad_enabled() or not (plain(dy) and plain(x) and only_runs()):
            dx, dweight, dbias, dresidual = schema.gradients(
                dy, x, y, weight, bias, kernels.rows(statistics), options, wanted
            )
        else:
            dx, dweight, dbias, dresidual = kernels.backward(
                dy, x, y, weight, bias, statistics, options, wanted, recomputable=again
            )
        return dx, dweight, dbias, None, None, dresidual, None


class _InPlace(_SingleLevelFunction):
    """Normalization in place: y takes the memory of x, dx is computed from y (Caffe's form)."""

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
        """Return x, which now holds y."""
        _, statistics = kernels.forward(
            x, weight, bias, running_mean, running_var, None, options, out=x
        )
        ctx.mark_dirty(x)
        ctx.save_for_backward(x, weight, bias)
        ctx.forward_call = (statistics, options)
        return x

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of the tensors; they cannot be differentiated again."""
        if torch.is_grad_enabled():
            raise RangeError.no_derivative_in_place()
        y, weight, bias = ctx.saved_tensors
        statistics, options = ctx.forward_call
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


# PyTorch's own way from a node to `backward` looks up its class's attributes at each call.
_OutOfPlace._backward_cls.apply = _OutOfPlace.backward  # type: ignore[attr-defined] # of its metaclass

# _SingleLevelFunction skips the checks for transforms that torch.autograd.Function makes on every
# call: `only_runs` has made them.
normalize: Callable[..., torch.Tensor] = _OutOfPlace.apply  # type: ignore[attr-defined] # of its base in C++
overwrite: Callable[..., torch.Tensor] = _InPlace.apply  # type: ignore[attr-defined] # the same
