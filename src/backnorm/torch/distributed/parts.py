"""The two passes over the part of a batch that this rank has: sums as limbs, and results."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch

from backnorm import kernels
from backnorm._layout import arrange, layout_of
from backnorm.kernels import exact_limbs, native_kernel
from backnorm.kernels._contract import BackwardCall, ForwardCall
from backnorm.torch.engine import memory

if TYPE_CHECKING:
    from backnorm._layout import Layout
    from backnorm._types import Activation, AnyArray, Float64Array, Int64Array, Through
    from backnorm.kernels._contract import Kernel
    from backnorm.torch.engine.kernels import CallOptions

__all__ = [
    "DTYPES",
    "Law",
    "count",
    "normalize",
    "store_gradients",
    "write_comoments",
    "write_moments",
]

DTYPES: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

# bfloat16 as its bits, for which the native kernel takes them.
NUMPY: Final[dict[torch.dtype, np.dtype[Any]]] = {
    torch.float64: np.dtype(np.float64),
    torch.float32: np.dtype(np.float32),
    torch.float16: np.dtype(np.float16),
    torch.bfloat16: np.dtype(np.uint16),
}


class Law(NamedTuple):
    """What a layer computes, beside its tensors.

    Attributes
    ----------
    eps
        Added to the variance. [x]^2
    activation, negative_slope
        The function that is applied last.
    through
        Which statistics the gradient goes through.
    """

    eps: float
    activation: Activation
    negative_slope: float
    through: Through

    @classmethod
    def of(cls, options: CallOptions) -> Law:
        """Return what the options of a call say of it."""
        return cls(options.eps, options.activation, options.negative_slope, options.through)


def count(x: torch.Tensor) -> int:
    """Return how many values each channel of x has."""
    return x.numel() // max(x.shape[1], 1)


def write_moments(x: torch.Tensor, limbs: Int64Array) -> None:
    """Write the exact sums of x and of x*x."""
    if x.numel() == 0:
        return
    x = _in_dtype_of(limbs, x)
    given = _array(x)
    given = arrange(given, layout_of(given, 1))
    unused = np.empty((4, len(limbs)))
    call = ForwardCall(
        x=given,
        y=given,
        residual=None,
        gamma=None,
        beta=None,
        statistics=unused,
        frozen=False,
        eps=0.0,
        activation="identity",
        negative_slope=1.0,
        law="exact",
        limbs=limbs,
        threads=torch.get_num_threads(),
    )
    _writer(limbs).forward(call)


def normalize(
    x: torch.Tensor,
    y: torch.Tensor,
    residual: torch.Tensor | None,
    parameters: tuple[torch.Tensor | None, torch.Tensor | None],
    statistics: Float64Array,
    n: int,
    law: Law,
) -> None:
    """Write y, with the statistics of a batch of n values a channel, of which x is a part."""
    if x.numel() == 0:
        return
    target = _Target(y)
    weight, bias = parameters
    call = ForwardCall(
        x=target.alike(x),
        y=target.view,
        residual=None if residual is None else target.alike(residual),
        gamma=_wide(weight),
        beta=_wide(bias),
        statistics=statistics,
        frozen=True,
        eps=law.eps,
        activation=law.activation,
        negative_slope=law.negative_slope,
        law="exact",
        total=n,
        threads=torch.get_num_threads(),
    )
    kernels.get().forward(call)
    target.finish()


def write_comoments(
    dy: torch.Tensor, x: torch.Tensor, y: torch.Tensor | None, limbs: Int64Array, law: Law
) -> None:
    """Write the exact sums of dz, of abs(dz) and of dz*x."""
    if x.numel() == 0:
        return
    tensors = [None if t is None else _in_dtype_of(limbs, t) for t in (dy, x, y)]
    arrays = [None if t is None else _array(t) for t in tensors]
    layout = layout_of(_array(x), 1)
    sums, statistics = np.empty((2, len(limbs))), np.empty((4, len(limbs)))
    call = _backward_call(
        tuple(None if a is None else arrange(a, layout) for a in arrays),
        None,
        sums,
        statistics,
        law,
    )
    _writer(limbs).backward(call._replace(limbs=limbs))


def _in_dtype_of(limbs: Int64Array, tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double() if exact_limbs.are_double(limbs) else tensor


def _writer(limbs: Int64Array) -> Kernel:
    return kernels.get("numpy") if exact_limbs.are_double(limbs) else kernels.get()


def store_gradients(
    dy: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor | None,
    results: tuple[torch.Tensor | None, torch.Tensor | None],
    weight: torch.Tensor | None,
    statistics: Float64Array,
    sums: Float64Array,
    n: int,
    law: Law,
) -> None:
    """Write dx and dresidual, with the sums of the whole batch, which has n values a channel."""
    wanted = [result for result in results if result is not None]
    if x.numel() == 0 or not wanted:
        return
    like = _Target(wanted[0])
    dx, dresidual = (None if r is None else _Target(r, like.layout) for r in results)
    call = _backward_call(
        tuple(None if t is None else like.alike(t) for t in (dy, x, y)),
        _wide(weight),
        sums[:2],
        statistics,
        law,
    )
    call = call._replace(
        dx=None if dx is None else dx.view,
        dresidual=None if dresidual is None else dresidual.view,
        total=n,
        measures=sums[2],
    )
    # The native kernel would take the sums of float64 again, those of this part.
    (kernels.get("numpy") if x.dtype == torch.float64 else kernels.get()).backward(call)
    for target in (dx, dresidual):
        if target is not None:
            target.finish()


def _backward_call(
    arrays: tuple[Any, ...],
    gamma: Float64Array | None,
    sums: Float64Array,
    statistics: Float64Array,
    law: Law,
) -> BackwardCall:
    dy, x, y = arrays
    return BackwardCall(
        dy=dy,
        x=x,
        y=y,
        dx=None,
        dresidual=None,
        sums=sums,
        gamma=gamma,
        statistics=statistics,
        frozen=False,
        through_mean=law.through in ("both", "mean"),
        through_variance=law.through in ("both", "variance"),
        add_dx=False,
        add_dresidual=False,
        activation=law.activation,
        negative_slope=law.negative_slope,
        law="exact",
        threads=torch.get_num_threads(),
    )


class _Target:
    """A result, and `view`, the array that the kernel writes: its memory, or float32 beside it."""

    def __init__(self, tensor: torch.Tensor, layout: Layout | None = None) -> None:
        self._tensor = tensor
        self._array = _array(tensor)
        self.layout = layout or layout_of(self._array, 1)
        self.view = self.alike(tensor)

    def alike(self, tensor: torch.Tensor) -> AnyArray:
        """Return the values of a tensor of this shape, arranged as the result."""
        return arrange(_array(tensor), self.layout)

    def finish(self) -> None:
        """Have the tensor hold what the kernel has written."""
        if not np.may_share_memory(self.view, self._array):
            ordered = self._array.transpose(self.layout.order)
            ordered[...] = self.view.reshape(ordered.shape)
        if _is_converted(self._tensor):
            self._tensor.copy_(torch.from_numpy(self._array))


def _is_converted(tensor: torch.Tensor) -> bool:
    """Whether the kernel takes float32 in place of bfloat16, which NumPy does not know."""
    return tensor.dtype == torch.bfloat16 and not native_kernel.levels()


def _array(tensor: torch.Tensor) -> AnyArray:
    """Return a tensor as an array: of its memory, where the kernel knows the dtype.

    Not by tensor.numpy(), after which PyTorch cannot free the memory early, as FSDP does.
    """
    tensor = memory.as_read(tensor.detach())
    if _is_converted(tensor):
        return tensor.float().numpy()
    width = tensor.element_size()
    last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    held: Any = (ctypes.c_char * (width * (last + 1))).from_address(tensor.data_ptr())
    strides = [width * step for step in tensor.stride()]
    array: AnyArray = np.ndarray(tensor.shape, NUMPY[tensor.dtype], held, 0, strides)
    return array


def _wide(parameter: torch.Tensor | None) -> Float64Array | None:
    """Return values of shape (C,) as contiguous float64."""
    if parameter is None:
        return None
    copy = memory.as_read(parameter.detach()).to(torch.float64, copy=True)
    return np.ascontiguousarray(copy.numpy())
