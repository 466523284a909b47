"""From tensors to calls of the C++ kernels, with outputs in recycled memory."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from backnorm.kernels import native_kernel
from backnorm.kernels.activations import ACTIVATIONS
from backnorm.kernels.memory import LARGE

if TYPE_CHECKING:
    from backnorm._types import Activation, Shape, Through

__all__ = [
    "Options",
    "accepts",
    "as_read",
    "available",
    "backward",
    "empty_like",
    "forward",
    "is_lazy",
    "rows",
    "works_in_place",
]

BEST: Final = 0
"""The first of the levels that this processor has."""


class Options(NamedTuple):
    """What a call is asked to do beside its tensors.

    Attributes
    ----------
    training
        Whether to normalize by the batch's own statistics.
    momentum
        Weight of the batch in the running statistics.
    eps
        Added to the variance. [x]^2
    activation, negative_slope
        What is applied last.
    through
        Which statistics the gradient goes through.
    """

    training: bool
    momentum: float
    eps: float
    activation: Activation
    negative_slope: float
    through: Through


def _calls() -> Any:
    """Return the kernels for tensors; None where PyTorch cannot hand tensors out to them."""
    calls = native_kernel.tensor_calls()
    exchange = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)
    if calls is None or exchange is None or not calls.use_exchange(exchange):
        return None
    return calls


_NATIVE: Final = _calls()


def available() -> bool:
    """Whether there are kernels for tensors."""
    return _NATIVE is not None


def accepts(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    training: bool,
) -> bool:
    """Whether the kernels compute this: formats, shapes and sizes fit each other.

    x and the others are strided tensors.
    """
    answer: bool = _NATIVE.accepts(x, weight, bias, running_mean, running_var, training)
    return answer


def forward(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    residual: torch.Tensor | None,
    options: Options,
    out: torch.Tensor | None = None,
) -> tuple[torch.Tensor, bytes]:
    """Return y and the statistics; update running statistics when training.

    Parameters
    ----------
    x, weight, bias, running_mean, running_var
        Such as `accepts` accepts.
    residual
        Added before the activation; shape and format of x.
    options
        What to do.
    out
        x itself, to have y in its memory; such as `works_in_place` accepts.

    Returns
    -------
    tuple of torch.Tensor and bytes
        y, shape, format and memory format of x; statistics, which `rows` makes a tensor.
    """
    training, momentum, eps, activation, slope, _ = options
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
        torch.get_num_threads(),
    )
    if statistics is None:
        x = x.clone()
        residual = _beside(x, residual)
        return forward(x, weight, bias, running_mean, running_var, residual, options)
    return y, statistics


def backward(
    dy: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor | None,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    statistics: bytes,
    options: Options,
    wanted: tuple[bool, bool, bool, bool],
    *,
    alone: bool = False,
    from_output: bool = False,
) -> tuple[torch.Tensor | None, ...]:
    """Return dx, dweight, dbias and dresidual; None for those that are not wanted.

    Parameters
    ----------
    dy
        What arrives, shape and format of x, any strides.
    x
        What was normalized; with from_output the output that took its memory.
    y
        The output, where there is an activation.
    weight, bias
        As in the forward pass.
    statistics
        Of the forward pass.
    options
        Those of the forward pass.
    wanted
        Which of the gradients to compute.
    alone
        Whether y came from x alone, with no residual: then it is made again, which is faster than
        to read it and gives the same bits.
    from_output
        Whether x holds y.
    """
    training, _, _, activation, slope, through = options
    dx = empty_like(x) if wanted[0] else None
    dweight = torch.empty_like(weight) if wanted[1] and weight is not None else None
    dbias = torch.empty_like(bias) if wanted[2] and bias is not None else None
    dresidual = empty_like(x) if wanted[3] else None
    done: bool = _NATIVE.backward_tensors(
        BEST,
        dy,
        x,
        y,
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
        alone,
        from_output,
        ACTIVATIONS[activation].code,
        slope,
        torch.get_num_threads(),
    )
    if not done:
        x = x.clone()
        dy = torch.empty_like(x).copy_(dy)
        y = _beside(x, y)
        how = {"alone": alone, "from_output": from_output}
        return backward(dy, x, y, weight, bias, statistics, options, wanted, **how)
    return dx, dweight, dbias, dresidual


def rows(statistics: bytes) -> torch.Tensor:
    """Return statistics as a tensor of shape (4, C), float64, with the rows of `state.Row`."""
    return torch.frombuffer(bytearray(statistics), dtype=torch.float64).view(4, -1)


def works_in_place(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None
) -> tuple[bool, bool]:
    """Whether y may take the memory of x, and whether x_hat can be worked out from y then."""
    return _NATIVE.in_place(x), _NATIVE.can_invert(x, weight, bias)


def is_lazy(tensor: torch.Tensor) -> bool:
    """Whether a tensor is a lazy copy, which shares its memory until somebody writes."""
    answer: bool = torch._C._is_cow_tensor(tensor)  # type: ignore[attr-defined] # not in stubs
    return answer


def as_read(tensor: torch.Tensor) -> torch.Tensor:
    """Return what the kernels may read a tensor by: itself, or the memory of a lazy copy.

    DLPack hands memory out to be written to, for which PyTorch copies it first.
    """
    if not is_lazy(tensor):
        return tensor
    places = zip(tensor.shape, tensor.stride(), strict=True)
    count = 1 + sum((size - 1) * stride for size, stride in places)
    width = tensor.element_size()
    storage = torch._C._data_address(tensor)  # type: ignore[attr-defined] # the same
    start = storage + width * tensor.storage_offset()
    memory = (ctypes.c_char * (width * count)).from_address(start)
    return torch.frombuffer(memory, dtype=tensor.dtype).as_strided(tensor.shape, tensor.stride())


def empty_like(x: torch.Tensor) -> torch.Tensor:
    """Return a tensor like torch.empty_like(x), in recycled memory when it is large."""
    size = x.nbytes
    memory = native_kernel.borrow(size) if size >= LARGE else None
    if memory is None:
        return torch.empty_like(x)
    strides = _dense_strides(x.shape, x.stride())
    # A view of what frombuffer gives could not be changed in place by whoever comes next.
    storage = torch.frombuffer(memory, dtype=x.dtype).untyped_storage()
    whole: torch.Tensor = torch.empty(0, dtype=x.dtype, device="cpu")
    return whole.set_(storage, 0, x.shape, strides)


@lru_cache(maxsize=1024)
def _dense_strides(shape: Shape, strides: tuple[int, ...]) -> tuple[int, ...]:
    return torch.empty_like(torch.empty_strided(shape, strides, device="meta")).stride()


def _beside(x: torch.Tensor, array: torch.Tensor | None) -> torch.Tensor | None:
    """Return a copy that lies as x does."""
    return None if array is None else torch.empty_like(x).copy_(array)
