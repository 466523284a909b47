"""From tensors to calls of the C++ kernels: addresses, strides, outputs in recycled memory."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import torch

from backnorm._layout import Layout, layout_in, steps
from backnorm.kernels import native_kernel
from backnorm.kernels.memory import LARGE

if TYPE_CHECKING:
    from backnorm._types import Activation, Shape, Through

__all__ = [
    "FORMATS",
    "Options",
    "backward",
    "empty_like",
    "forward",
    "invertible",
    "works_in_place",
]

FORMATS: Final = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
"""Codes of call.hpp."""

CHANNEL_AXIS: Final = 1

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


def forward(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    residual: torch.Tensor | None,
    options: Options,
    out: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return y and the statistics; update running statistics when training.

    Parameters
    ----------
    x
        Input, shape (N, C, ...), not empty. [x]
    weight, bias, running_mean, running_var
        Shape (C,), contiguous, all of one format, or None.
    residual
        Added before the activation; shape and format of x.
    options
        What to do.
    out
        x itself, to have y in its memory; such as `works_in_place` accepts.

    Returns
    -------
    tuple of torch.Tensor
        y, shape, format and strides of x; statistics, shape (4, C), float64, rows of `state.Row`.
    """
    x, layout, at_x = _arranged(x)
    y = empty_like(x) if out is None else out
    statistics = torch.empty((4, x.shape[CHANNEL_AXIS]), dtype=torch.float64, device="cpu")
    residual, at_residual = _like(residual, x, layout)
    native_kernel.forward_at(
        BEST,
        FORMATS[x.dtype],
        *layout.extent,
        *at_x,
        *_place(y, layout),
        *at_residual,
        _format_of(weight, bias, running_mean),
        _address(weight),
        _address(bias),
        _address(running_mean),
        _address(running_var),
        options.momentum,
        statistics.data_ptr(),
        not options.training,
        options.eps,
        native_kernel.ACTIVATIONS[options.activation],
        options.negative_slope,
        torch.get_num_threads(),
    )
    return y, statistics


def backward(
    dy: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor | None,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    statistics: torch.Tensor,
    options: Options,
    wanted: tuple[bool, bool, bool, bool],
    *,
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
        As in the forward pass; bias is looked at with from_output, and for its format.
    statistics
        Of the forward pass.
    options
        Those of the forward pass.
    wanted
        Which of the gradients to compute.
    from_output
        Whether x holds y.
    """
    x, layout, at_x = _arranged(x)
    wants_dx, wants_dweight, wants_dbias, wants_dresidual = wanted
    dx = empty_like(x) if wants_dx else None
    dresidual = empty_like(x) if wants_dresidual else None
    dweight = torch.empty_like(weight) if wants_dweight and weight is not None else None
    dbias = torch.empty_like(bias) if wants_dbias and bias is not None else None
    dy, at_dy = _like(dy, x, layout)
    y, at_y = _like(y, x, layout)
    training, through = options.training, options.through
    native_kernel.backward_at(
        BEST,
        FORMATS[x.dtype],
        *layout.extent,
        *at_dy,
        *at_x,
        *at_y,
        *_place(dx, layout),
        *_place(dresidual, layout),
        _format_of(weight, bias),
        _address(weight),
        _address(bias),
        _address(dweight),
        _address(dbias),
        statistics.data_ptr(),
        not training,
        training and through in ("both", "mean"),
        training and through in ("both", "variance"),
        from_output,
        native_kernel.ACTIVATIONS[options.activation],
        options.negative_slope,
        torch.get_num_threads(),
    )
    return dx, dweight, dbias, dresidual


def invertible(weight: torch.Tensor | None, bias: torch.Tensor | None, channels: int) -> bool:
    """Whether x_hat can be worked out from the output without losing digits that count."""
    answer: bool = native_kernel.invertible_at(
        channels, _format_of(weight, bias), _address(weight), _address(bias)
    )
    return answer


def works_in_place(x: torch.Tensor) -> bool:
    """Whether kernels can write y where x lies, seeing each value once."""
    layout = layout_in(x.shape, x.stride(), CHANNEL_AXIS)
    place = steps(x.shape, x.stride(), layout, CHANNEL_AXIS)
    return place is not None and 0 not in x.stride()


def empty_like(x: torch.Tensor) -> torch.Tensor:
    """Return a tensor like torch.empty_like(x), in recycled memory when it is large."""
    size = x.numel() * x.element_size()
    memory = native_kernel.borrow(size) if size >= LARGE else None
    if memory is None:
        return torch.empty_like(x)
    strides = _dense_strides(x.shape, x.stride())
    # A view of what frombuffer gives could not be changed in place by whoever comes next.
    storage = torch.frombuffer(memory, dtype=x.dtype).untyped_storage()
    return torch.empty(0, dtype=x.dtype, device="cpu").set_(storage, 0, x.shape, strides)  # type: ignore[call-overload, no-any-return]


@lru_cache(maxsize=1024)
def _dense_strides(shape: Shape, strides: tuple[int, ...]) -> tuple[int, ...]:
    return torch.empty_like(torch.empty_strided(shape, strides, device="meta")).stride()


Place = tuple[int, int, int]
"""An address, and the strides of (outer, c) in elements."""

NOWHERE: Final[Place] = (0, 0, 0)


def _arranged(x: torch.Tensor) -> tuple[torch.Tensor, Layout, Place]:
    """Return x, or a dense copy of it where kernels cannot take its strides."""
    shape, strides = x.shape, x.stride()
    layout = layout_in(shape, strides, CHANNEL_AXIS)
    step = steps(shape, strides, layout, CHANNEL_AXIS)
    if step is None:
        return _arranged(x.clone())
    return x, layout, (x.data_ptr(), *step)


def _like(
    array: torch.Tensor | None, x: torch.Tensor, layout: Layout
) -> tuple[torch.Tensor | None, Place]:
    """Return an array of x's shape as kernels can take it beside x: itself, or a copy."""
    if array is None:
        return None, NOWHERE
    step = steps(array.shape, array.stride(), layout, CHANNEL_AXIS)
    if step is None:
        array = torch.empty_like(x).copy_(array)
        return array, _place(array, layout)
    return array, (array.data_ptr(), *step)


def _place(array: torch.Tensor | None, layout: Layout) -> Place:
    if array is None:
        return NOWHERE
    step = steps(array.shape, array.stride(), layout, CHANNEL_AXIS)
    assert step is not None  # noqa: S101 - our own outputs are laid out as x is
    return array.data_ptr(), *step


def _address(parameter: torch.Tensor | None) -> int:
    return 0 if parameter is None else parameter.data_ptr()


def _format_of(*parameters: torch.Tensor | None) -> int:
    """Return the code of the parameters' one format."""
    for parameter in parameters:
        if parameter is not None:
            return FORMATS[parameter.dtype]
    return FORMATS[torch.float64]
