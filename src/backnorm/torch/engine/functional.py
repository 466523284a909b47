"""torch.nn.functional.batch_norm by the engine."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Final

import torch
from torch.overrides import has_torch_function_variadic

from backnorm import _check
from backnorm.errors import DtypeError, RangeError, ShapeError, SmallWeightWarning
from backnorm.kernels import native_kernel
from backnorm.torch.engine import kernels, operator, stock
from backnorm.torch.engine.autograd import InPlace, OutOfPlace, only_runs, plain
from backnorm.torch.engine.kernels import FORMATS, Options

if TYPE_CHECKING:
    from backnorm._types import Activation, Through

__all__ = ["batch_norm"]

NARROW: Final = (torch.float16, torch.bfloat16)


def batch_norm(  # noqa: PLR0917 - the signature of torch.nn.functional.batch_norm
    input: torch.Tensor,  # noqa: A002 - the same
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,  # noqa: FBT001 FBT002 - the same
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    activation: Activation = "identity",
    negative_slope: float = 0.01,
    residual: torch.Tensor | None = None,
    through: Through = "both",
    inplace: bool = False,
) -> torch.Tensor:
    """Normalize each channel: y = act(weight*x_hat + bias + residual).

    What torch.nn.functional.batch_norm computes, by the engine; with defaults for what is new, its
    drop-in replacement.

    Parameters
    ----------
    input
        x, shape (N, C, ...), float16, bfloat16, float32 or float64; any strides. [x]
    running_mean, running_var
        Shape (C,). With training they are updated (the variance is the unbiased one) and take no
        part in y; without it x is normalized by them, and they are constants. [x], [x]^2
    weight, bias
        Shape (C,), in the format of input, or float32 beside a 16-bit input; None is 1 and 0. [y]
    training
        Whether to normalize by the statistics of this batch.
    momentum
        Weight of the batch in the running statistics.
    eps
        Added to the variance, inside the root. [x]^2
    activation
        "identity", "relu", "relu6" or "leaky_relu", applied last.
    negative_slope
        Slope of leaky_relu below 0.
    residual
        Added before the activation; shape and format of input. [y]
    through
        Which statistics the gradient goes through: "both" is the exact gradient, the others are
        what some implementations compute instead. See `backnorm.batch_norm_backward`.
    inplace
        Let y take the memory of input, and the gradient be worked out from y. For the activations
        identity and leaky_relu, without a residual; it is ignored where weights are too small to
        be divided by, which a warning says once.

    Returns
    -------
    torch.Tensor
        y; shape, format and memory format of input.

    Raises
    ------
    ValueError, RuntimeError
        What torch.nn.functional.batch_norm raises for the same input.
    ShapeError, DtypeError
        residual does not fit.
    RangeError
        A bad slope; inplace with an activation or residual that it cannot be had with.
    UnknownNameError
        An activation or a word for through that does not exist.

    Notes
    -----
    Source: docs/pytorch.md.
    Accuracy: as `backnorm.batch_norm` (tests/with_torch/test_engine.py).
    Cost: as `backnorm.batch_norm`. Further derivatives, forward mode and vmap are supported; further
    derivatives take some thirty passes in float64. Tensors on other devices, or of formats that the
    engine does not know, are computed by PyTorch's own kernels.

    Examples
    --------
    >>> import torch
    >>> from backnorm.torch import batch_norm
    >>> batch_norm(torch.tensor([[1.0], [3.0]]), None, None, training=True, eps=1e-12).tolist()
    [[-1.0], [1.0]]
    """
    if activation != "identity" or residual is not None or through != "both" or inplace:
        _check_extras(input, activation, negative_slope, residual, through, inplace=inplace)
    parameters = (weight, bias, running_mean, running_var)
    if not _takes(input, parameters, training=training, eps=eps):
        options = Options(training, momentum, eps, activation, negative_slope, through)
        return stock.batch_norm(input, weight, bias, running_mean, running_var, residual, options)
    options = Options(training, momentum, eps, activation, negative_slope, through)
    if not _runs(input, parameters, residual):
        return operator.batch_norm(
            input, weight, bias, running_mean, running_var, residual, options
        )
    if inplace and _may_overwrite(input, weight, bias):
        y: torch.Tensor = InPlace.apply(input, weight, bias, running_mean, running_var, options)
        return y
    y = OutOfPlace.apply(input, weight, bias, running_mean, running_var, residual, options)
    return y


def _check_extras(
    x: torch.Tensor,
    activation: Activation,
    negative_slope: float,
    residual: torch.Tensor | None,
    through: Through,
    *,
    inplace: bool,
) -> None:
    _check.name_of("activation", activation, _check.ACTIVATIONS)
    _check.name_of("through", through, _check.THROUGHS)
    _check.slope(negative_slope)
    if residual is not None:
        if residual.shape != x.shape:
            raise ShapeError.same_as("residual", residual.shape, "input", x.shape)
        if residual.dtype != x.dtype:
            raise DtypeError.same_as("residual", residual.dtype, "input", x.dtype)
    if inplace and (residual is not None or activation not in ("identity", "leaky_relu")):
        raise RangeError.not_in_place(activation, has_residual=residual is not None)


Parameters = tuple[torch.Tensor | None, ...]


def _takes(x: torch.Tensor, parameters: Parameters, *, training: bool, eps: float) -> bool:
    """Whether the engine computes this; what it leaves is PyTorch's, errors included."""
    if native_kernel.forward_at is None or not x.is_cpu or x.dtype not in FORMATS:
        return False
    if x.layout is not torch.strided or x.dim() < 2 or not x.numel():
        return False
    c = x.shape[1]
    kept = None
    for parameter in parameters:
        if parameter is None:
            continue
        if kept is None:
            kept = parameter.dtype
        fits = parameter.dtype is kept and parameter.shape == (c,)
        if not (fits and parameter.is_cpu and parameter.is_contiguous()):
            return False
    if kept is not None and kept is not x.dtype:
        if kept is not torch.float32 or x.dtype not in NARROW:
            return False
    running_mean, running_var = parameters[2:]
    if (running_mean is None) != (running_var is None):
        return False
    if training:
        return x.numel() > c and eps > 0.0
    return running_mean is not None and eps >= 0.0


def _runs(x: torch.Tensor, parameters: Parameters, residual: torch.Tensor | None) -> bool:
    """Whether this is a plain call on plain tensors."""
    return (
        only_runs()
        and plain(x)
        and plain(residual)
        and all(map(plain, parameters))
        and not has_torch_function_variadic(x, residual, *parameters)
    )


def _may_overwrite(x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None) -> bool:
    if not kernels.works_in_place(x):
        return False
    if kernels.invertible(weight, bias, x.shape[1]):
        return True
    _warn_of_small_weights()
    return False


@cache
def _warn_of_small_weights() -> None:
    warnings.warn(SmallWeightWarning.not_in_place(), stacklevel=4)
