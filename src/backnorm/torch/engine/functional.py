"""torch.nn.functional.batch_norm by the engine."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Final

import torch

from backnorm import _check
from backnorm.errors import DtypeError, RangeError, ShapeError, SmallWeightWarning
from backnorm.kernels import activations
from backnorm.torch.distributed import passes
from backnorm.torch.engine import kernels, masked, masked_call, operator, stock
from backnorm.torch.engine.autograd import normalize, only_runs, overwrite
from backnorm.torch.engine.kernels import CallOptions
from backnorm.torch.engine.memory import is_lazy, plain
from backnorm.torch.engine.tools import call_function_in_graph, is_exported, is_traced

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from backnorm._types import Activation, SumLaw, Through

__all__ = ["batch_norm", "check_extras", "takes"]


def batch_norm(
    input: torch.Tensor,  # noqa: A002 - the same
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    activation: Activation = "identity",
    negative_slope: float = 0.01,
    residual: torch.Tensor | None = None,
    through: Through = "both",
    inplace: bool = False,
    sums: SumLaw = "float64",
    mask: torch.Tensor | None = None,
    process_group: ProcessGroup | None = None,
    reduce_parameters: bool = False,
) -> torch.Tensor:
    """Normalize each channel: y = act(weight*x_hat + bias + residual).

    A drop-in replacement for torch.nn.functional.batch_norm: the arguments up to eps are the same,
    the others have defaults that change nothing.

    Parameters
    ----------
    input
        x, shape (N, C, ...), float16, bfloat16, float32 or float64; any strides. [x]
    running_mean, running_var
        Shape (C,). In training they are updated (with the unbiased variance) and do not enter y; in
        evaluation x is normalized by them, and they are constants. [x], [x]^2
    weight, bias
        Shape (C,), in the dtype of input, or float32 if input has 16 bits; None stands for 1 and
        for 0. [y]
    training
        Whether to normalize by the statistics of this batch.
    momentum
        Weight of the batch in the running statistics.
    eps
        Added to the variance, inside the root. [x]^2
    activation
        Applied last, for example "relu"; `backnorm.kernels.activations.NAMES` are all of them.
    negative_slope
        Slope of leaky_relu below 0.
    residual
        Added before the activation; shape and dtype of input. [y]
    through
        Which statistics the gradient goes through: "both" is the exact gradient, the others are
        what some implementations compute instead. See `backnorm.batch_norm_backward`.
    inplace
        Let y take the memory of input, and compute the gradient from y. The activation must be one
        of `backnorm.kernels.activations.INVERTIBLE`, without a residual. If a weight is too small
        to divide by, y gets separate memory after all, and the first such call warns.
    sums
        How sums are taken, in the gradient too: with "exact" no bit depends on the layout, the
        order of samples, the threads or the instruction set; see `backnorm.batch_norm`. PyTorch's
        own kernels, which compute what the engine does not support, have no such sums.
    mask
        Which positions count: bool, shape of input without its channels, (N, ...). Statistics,
        running statistics and all derivatives are bitwise those of a call on the values that
        count, gathered into (count, C). y and the gradients are 0 elsewhere, whatever input holds
        there. y has separate memory, also with inplace. Or how much they count: weights of 0 or
        greater, in a float dtype, with a gradient of their own; see `backnorm.batch_norm`. With
        weights running_var moves to the unbiased variance of numpy.cov(aweights=mask).
    process_group
        In training, the statistics and the gradient are those of the batches of all ranks of this
        group of torch.distributed, by exact sums; see docs/distributed.md. y has separate memory,
        also with inplace. torch.distributed.group.WORLD is the group of all ranks.
    reduce_parameters
        Whether the gradients of weight and bias are those of all ranks of the group, bitwise
        identical on every one, or as in PyTorch those of this rank.

    Returns
    -------
    torch.Tensor
        y; shape, dtype and memory format of input.

    Raises
    ------
    ValueError, RuntimeError
        What torch.nn.functional.batch_norm raises for the same input.
    ShapeError, DtypeError
        The residual is not a tensor with the shape and dtype of input, or the mask is not a bool
        or float tensor of its shape.
    StorageError
        The storage of a tensor was freed. It is a RuntimeError, as in PyTorch.
    RangeError
        A slope or weight out of range; weights that differ with exact sums; inplace with a
        residual, or with an activation that has no inverse.
    UnknownNameError
        An unknown activation, or an unknown value of through or sums.

    Notes
    -----
    Source: docs/pytorch.md.
    Accuracy: as `backnorm.batch_norm` (tests/with_torch/engine/test_offset.py).
    Cost: as `backnorm.batch_norm`. Further derivatives, forward mode and vmap work; a further
    derivative takes some thirty passes in float64. PyTorch's own kernels compute tensors on other
    devices, or of a dtype that the engine does not support.

    Examples
    --------
    >>> import torch
    >>> from backnorm.torch import batch_norm
    >>> batch_norm(torch.tensor([[1.0], [3.0]]), None, None, training=True, eps=1e-12).tolist()
    [[-1.0], [1.0]]
    """
    if is_traced(input):
        given = (input, running_mean, running_var, weight, bias, training, momentum, eps)
        extras = {"activation": activation, "negative_slope": negative_slope}
        others: dict[str, object] = {"residual": residual, "through": through, "inplace": inplace}
        others["sums"] = sums
        rare = _given(mask=mask, process_group=process_group, reduce_parameters=reduce_parameters)
        return call_function_in_graph(batch_norm, given, {**extras, **others, **rare})  # type: ignore[no-any-return]
    if activation != "identity" or residual is not None or through != "both" or inplace:
        check_extras(input, activation, negative_slope, residual, through, inplace=inplace)
    if sums != "float64":
        _check.name_of("sums", sums, _check.SUMS)
    options = CallOptions(training, momentum, eps, activation, negative_slope, through, sums)
    parameters = (weight, bias, running_mean, running_var)
    if process_group is not None:
        options = options._replace(sums="exact")
        part = (input, parameters, residual, mask, process_group, options)
        y = passes.of_function(*part, reduce=reduce_parameters) if training else None
        if y is not None:
            return y
    if mask is not None:
        return _of_counted(input, mask, parameters, residual, options)
    return _of_all(input, parameters, residual, options, inplace=inplace)


def _given(**arguments: object) -> dict[str, object]:
    """Return the arguments that are not their defaults, None and False."""
    # By identity: a mask may be a torch.fx.Proxy, which does not compare.
    return {k: v for k, v in arguments.items() if v is not None and v is not False}


def _of_all(
    x: torch.Tensor,
    parameters: Parameters,
    residual: torch.Tensor | None,
    options: CallOptions,
    *,
    inplace: bool,
) -> torch.Tensor:
    """Return y of a batch that counts as a whole."""
    weight, bias, running_mean, running_var = parameters
    if not (_in_range(options) and kernels.available()):
        return stock.batch_norm(x, *parameters, residual, options)
    if inplace and only_runs() and is_lazy(x):
        x.data_ptr()  # makes PyTorch copy the lazy copy, since y is written there
    if not (
        _runs(x, residual, parameters)
        and kernels.accepts(x, weight, bias, running_mean, running_var, options.training)
    ):
        fits = not is_exported() and takes(x, parameters, training=options.training)
        function = operator.batch_norm if fits else stock.batch_norm
        return function(x, *parameters, residual, options)
    if inplace and _may_overwrite(x, weight, bias, options):
        return overwrite(x, weight, bias, running_mean, running_var, options)
    return normalize(x, weight, bias, running_mean, running_var, residual, options)


def _of_counted(
    x: torch.Tensor,
    mask: torch.Tensor,
    parameters: Parameters,
    residual: torch.Tensor | None,
    options: CallOptions,
) -> torch.Tensor:
    masked.check(mask, x)
    if mask.dtype != torch.bool or not only_runs():
        fits = _in_range(options) and kernels.available() and not is_exported()
        fits = fits and takes(x, parameters, training=options.training)
        return masked_call.batch_norm(x, mask, *parameters, residual, options, fits=fits)
    added = None if residual is None else masked.gather(residual, mask)
    y = _of_all(masked.gather(x, mask), parameters, added, options, inplace=False)
    return masked.spread(y, x, mask)


def _in_range(options: CallOptions) -> bool:
    """Whether eps is; PyTorch's kernels raise PyTorch's errors for another one."""
    return options.eps > 0.0 or (options.eps == 0.0 and not options.training)


def check_extras(
    x: torch.Tensor,
    activation: Activation,
    negative_slope: float,
    residual: torch.Tensor | None,
    through: Through,
    *,
    inplace: bool,
) -> None:
    """Raise an error if arguments that torch.nn.functional.batch_norm does not have are wrong."""
    _check.name_of("activation", activation, activations.NAMES)
    _check.name_of("through", through, _check.THROUGHS)
    _check.slope(negative_slope)
    if residual is not None:
        if not isinstance(residual, torch.Tensor):
            raise DtypeError.not_a_tensor("residual", residual)
        if residual.shape != x.shape:
            raise ShapeError.same_as("residual", residual.shape, "input", x.shape)
        if residual.dtype != x.dtype:
            raise DtypeError.same_as("residual", residual.dtype, "input", x.dtype)
    has_residual = residual is not None
    if inplace and (has_residual or activation not in activations.INVERTIBLE):
        raise RangeError.not_in_place(activation, activations.INVERTIBLE, has_residual=has_residual)


Parameters = tuple[
    torch.Tensor | None, torch.Tensor | None, torch.Tensor | None, torch.Tensor | None
]

PLAIN_TYPES: Final = frozenset((torch.Tensor, torch.nn.Parameter, type(None)))


def _runs(x: torch.Tensor, residual: torch.Tensor | None, parameters: Parameters) -> bool:
    """Whether this is a plain call on plain tensors."""
    if not (only_runs() and plain(x) and (residual is None or plain(residual))):
        return False
    weight, bias, running_mean, running_var = parameters
    # Spelled out: a loop over the six tensors takes 0.2 microseconds more.
    return (
        type(x) in PLAIN_TYPES
        and type(weight) in PLAIN_TYPES
        and type(bias) in PLAIN_TYPES
        and type(running_mean) in PLAIN_TYPES
        and type(running_var) in PLAIN_TYPES
        and type(residual) in PLAIN_TYPES
    )


DTYPES: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
NARROW: Final = DTYPES[:2]


def takes(x: torch.Tensor, parameters: Parameters, *, training: bool) -> bool:
    """Whether the engine can compute this: `kernels.accepts` for tensors without memory.

    Strides do not count, since the operator makes parameters contiguous.
    """
    if not (x.is_cpu and x.layout is torch.strided and x.dtype in DTYPES):
        return False
    if not 2 <= x.dim() <= kernels.MOST_AXES or x.numel() == 0:  # noqa: PLR2004 - (N, C)
        return False
    given = [p for p in parameters if p is not None]
    if not all(p.is_cpu and p.shape == x.shape[1:2] for p in given):
        return False
    dtypes = {p.dtype for p in given}
    if dtypes - {x.dtype} and not (dtypes == {torch.float32} and x.dtype in NARROW):
        return False
    running_mean, running_var = parameters[2:]
    if (running_mean is None) != (running_var is None):
        return False
    return x.numel() > x.shape[1] if training else running_mean is not None


def _may_overwrite(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, options: CallOptions
) -> bool:
    possible, invertible = kernels.works_in_place(x, weight, bias, options)
    if possible and not invertible:
        _warn_of_small_weights()
    return possible and invertible


@cache
def _warn_of_small_weights() -> None:
    warnings.warn(SmallWeightWarning.not_in_place(), stacklevel=4)
