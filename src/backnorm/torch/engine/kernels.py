"""Calls of the C++ kernels on tensors, with outputs in recycled memory."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from backnorm.errors import StorageError
from backnorm.kernels import native_kernel
from backnorm.kernels.activations import ACTIVATIONS
from backnorm.kernels.memory import LARGE
from backnorm.torch.engine import activations as torch_activations

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import Activation, Shape, SumLaw, Through

__all__ = [
    "CHANNELS_LAST",
    "MOST_AXES",
    "CallOptions",
    "accepts",
    "available",
    "backward",
    "empty_like",
    "forward",
    "rows",
    "works_in_place",
]

MOST_AXES: Final = 8
"""That a batch may have."""

BEST: Final = 0
"""Index of the fastest instruction-set level that this processor supports."""


class CallOptions(NamedTuple):
    """The arguments of a call that are not tensors.

    Attributes
    ----------
    training
        Whether to normalize by the statistics of this batch.
    momentum
        Weight of the batch in the running statistics.
    eps
        Added to the variance. [x]^2
    activation, negative_slope
        The function that is applied last.
    through
        Which statistics the gradient goes through.
    sums
        How sums are taken.
    """

    training: bool
    momentum: float
    eps: float
    activation: Activation
    negative_slope: float
    through: Through
    sums: SumLaw


def _calls() -> Any:
    """Return the kernels for tensors; None if PyTorch is too old to exchange tensors with them."""
    calls = native_kernel.tensor_calls()
    exchange = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)
    if calls is None or exchange is None or not calls.use_exchange(exchange):
        return None
    calls.use_large(LARGE)
    calls.use_storage(
        torch.Tensor.untyped_storage, torch.UntypedStorage.data_ptr, StorageError.too_small
    )
    return calls


_NATIVE: Final = _calls()

# Looked up once, for each call.
_function_modes = torch._C._is_torch_function_mode_enabled
_thread_count = torch.get_num_threads


def available() -> bool:
    """Whether the kernels for tensors can be called."""
    return _NATIVE is not None


accepts: Final[Callable[..., bool]] = _NATIVE and _NATIVE.accepts
"""Whether the kernels compute this: dtypes, shapes and sizes fit each other.

Called with x, weight, bias, running_mean, running_var (strided tensors or None) and training, and
only if the kernels are available. Not a function of Python, which would take 0.1 microseconds.
"""


usual_layer: Final[Callable[..., Any]] = _NATIVE and _NATIVE.usual_layer
"""y of a layer and of x, all in C++; None, before anything was written, of an unusual call."""

node_forward: Final[Callable[..., Any]] = _NATIVE and _NATIVE.node_forward
"""The forward pass of `autograd`'s node with its arguments; None if the call is unusual."""

node_backward: Final[Callable[..., Any]] = _NATIVE and _NATIVE.node_backward
"""The gradients for the node, of dy, its saved tensors, its `SavedCall`, what is wanted."""

use_framework: Final[Callable[..., None]] = _NATIVE and _NATIVE.use_framework
"""Give the three functions above what they need to know of PyTorch, see usual.py."""


def forward(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    residual: torch.Tensor | None,
    options: CallOptions,
    out: torch.Tensor | None = None,
) -> tuple[torch.Tensor, bytes]:
    """Return y and the statistics; update running statistics when training.

    Parameters
    ----------
    x, weight, bias, running_mean, running_var
        Tensors for which `accepts` is true.
    residual
        Added before the activation; shape and dtype of x.
    options
        The other arguments.
    out
        Memory for y; x itself only if `works_in_place` is true for it.

    Returns
    -------
    tuple of torch.Tensor and bytes
        y, shape, dtype and memory format of x; statistics, which `rows` turns into a tensor.

    Raises
    ------
    StorageError
        The storage of a tensor was freed.
    """
    if _function_modes():
        with torch._C.DisableTorchFunction():  # a default device changes nothing here
            return forward(x, weight, bias, running_mean, running_var, residual, options, out)
    training, momentum, eps, activation, slope, _, sums = options
    y = empty_like(x) if out is None else out
    statistics: bytes | None = _NATIVE.forward_tensors(
        BEST,
        x,
        y,
        residual,
        weight,
        bias,
        running_mean,
        running_var,
        training,
        momentum,
        eps,
        ACTIVATIONS[activation].code,
        slope,
        _thread_count(),
        sums == "exact",
    )
    if statistics is None:  # the kernels cannot walk along all of these strides
        x, residual = _laid_out(x, y), None if residual is None else _laid_out(residual, y)
        return forward(x, weight, bias, running_mean, running_var, residual, options, y)
    return y, statistics


def backward(
    dy: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor | None,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    statistics: bytes,
    options: CallOptions,
    wanted: tuple[bool, bool, bool, bool],
    *,
    recomputable: bool = False,
    from_output: bool = False,
    out: torch.Tensor | None = None,
) -> tuple[torch.Tensor | None, ...]:
    """Return dx, dweight, dbias and dresidual; None for those that are not wanted.

    Parameters
    ----------
    dy
        Gradient of y, shape and dtype of x, any strides.
    x
        The input; with from_output the output that took its memory.
    y
        The output; None without an activation, or if it was not kept and is recomputable.
    weight, bias, statistics, options
        As in the forward pass.
    wanted
        Which of the gradients to compute.
    recomputable
        Whether y follows from x without a residual: then y is computed again where it is large,
        which is faster than reading it and bitwise identical, or where it is None.
    from_output
        Whether x holds y.
    out
        Memory for dx.

    Raises
    ------
    StorageError
        The storage of a tensor was freed since the forward pass.
    """
    if _function_modes():
        flags = {"recomputable": recomputable, "from_output": from_output}
        with torch._C.DisableTorchFunction():  # as in forward
            return backward(dy, x, y, weight, bias, statistics, options, wanted, **flags, out=out)
    training, _, _, activation, slope, through, sums = options
    dx = (empty_like(x, dy) if out is None else out) if wanted[0] else None
    dweight = torch.empty_like(weight) if wanted[1] and weight is not None else None
    dbias = torch.empty_like(bias) if wanted[2] and bias is not None else None
    dresidual = empty_like(x, dy) if wanted[3] else None
    others = (
        dx,
        dresidual,
        weight,
        bias,
        dweight,
        dbias,
        statistics,
        training,
        through == "both" or through == "mean",  # noqa: PLR1714 - faster than a tuple
        through == "both" or through == "variance",  # noqa: PLR1714
        recomputable,
        from_output,
        ACTIVATIONS[activation].code,
        slope,
        _thread_count(),
        sums == "exact",
    )
    while (outcome := _NATIVE.backward_tensors(BEST, dy, x, y, *others)) != native_kernel.DONE:
        if outcome == native_kernel.NEEDS_OUTPUT:
            y = _output_again(x, weight, bias, statistics, options)
            continue
        results = [result for result in (dx, dresidual) if result is not None]  # as in forward
        like = results[0] if results else empty_like(x, dy)
        dy, x, y = (
            _laid_out(dy, like),
            _laid_out(x, like),
            None if y is None else _laid_out(y, like),
        )
    return dx, dweight, dbias, dresidual


RECOMPUTED: Final = (torch.float32, torch.float64)
"""Dtypes in which the backward pass computes an output again by itself."""


def can_write(residual: torch.Tensor | None, activation: Activation) -> bool:
    """Whether y is not kept for backward, so that it may be written to, as PyTorch's own may."""
    keeps = torch_activations.ACTIVATIONS[activation].keeps_output
    return residual is None and not keeps and activation != "identity"


def _output_again(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    statistics: bytes,
    options: CallOptions,
) -> torch.Tensor:
    """Return y again, without a residual; by the exact law with every bit of the first time."""
    if options.sums == "exact" and options.training:
        return forward(x, weight, bias, None, None, None, options)[0]
    return output(x, weight, bias, rows(statistics), options)


def output(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    statistics: torch.Tensor,
    options: CallOptions,
) -> torch.Tensor:
    """Return y again, without a residual; in float64, and on the same side of every kink.

    Parameters
    ----------
    x, weight, bias, options
        As in the forward pass.
    statistics
        Its statistics, as `rows` returns them.
    """
    shape = (1, -1) + (1,) * (x.dim() - 2)
    mean, mean_low, _, inv_std = (row.view(shape) for row in statistics)
    z = (x.double() - mean - mean_low) * inv_std
    z = z if weight is None else z * weight.double().view(shape)
    z = z if bias is None else z + bias.double().view(shape)
    y = torch_activations.ACTIVATIONS[options.activation].apply(z, options.negative_slope)
    return y.to(x.dtype)


def rows(statistics: bytes) -> torch.Tensor:
    """Return statistics as a tensor of shape (4, C), float64, with rows as in `StatisticsRow`."""
    return torch.frombuffer(bytearray(statistics), dtype=torch.float64).view(4, -1)


def works_in_place(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, options: CallOptions
) -> tuple[bool, bool]:
    """Whether y may take the memory of x, and whether x_hat can then be computed from y."""
    has_slope = ACTIVATIONS[options.activation].has_slope
    slope = options.negative_slope if has_slope else 1.0
    return _NATIVE.in_place(x), _NATIVE.can_invert(x, weight, bias, slope)


def empty_like(x: torch.Tensor, dy: torch.Tensor | None = None) -> torch.Tensor:
    """Return a tensor for y, or for dx if dy is given, in recycled memory when it is large.

    It is channels last if x is, and contiguous otherwise, whatever the strides of x: PyTorch's rule
    for batch_norm, on which code that calls `view` relies.
    """
    channels_last: bool | None = _NATIVE.result_format(x, dy)
    if channels_last is None:  # small, and with the strides that a result has
        return torch.empty_like(x)
    strides = _strides(x.shape, channels_last)
    size = x.nbytes
    memory = native_kernel.borrow(size) if size >= LARGE else None
    if memory is None:
        return torch.empty_strided(x.shape, strides, dtype=x.dtype, device="cpu")
    # Not a view of frombuffer's tensor: autograd forbids writing in place to a view that was made
    # inside an autograd function, and users may do that with y.
    storage = torch.frombuffer(memory, dtype=x.dtype).untyped_storage()
    whole: torch.Tensor = torch.empty(0, dtype=x.dtype, device="cpu")
    return whole.set_(storage, 0, x.shape, strides)


CHANNELS_LAST: Final = {4: torch.channels_last, 5: torch.channels_last_3d}
"""The memory format of that kind by the number of axes."""


@lru_cache(maxsize=1024)
def _strides(shape: Shape, channels_last: bool) -> tuple[int, ...]:
    memory_format = CHANNELS_LAST[len(shape)] if channels_last else torch.contiguous_format
    return torch.empty(shape, device="meta", memory_format=memory_format).stride()


def _laid_out(array: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return a tensor with the strides of a result, and aligned: the same one, or a copy."""
    if array.stride() == like.stride() and array.data_ptr() % array.element_size() == 0:
        return array
    return torch.empty_like(like).copy_(array)
