"""Between arrays and tensors: what a torch callable returned, and the gradients of it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from backnorm.audit.subject import Run
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backnorm._types import AnyArray, Shape
    from backnorm.audit.boxes import Variant

__all__ = [
    "alike",
    "array_of",
    "gradients",
    "higher_gradients",
    "leaf_of",
    "running_statistics",
    "tensor_of",
]


def tensor_of(array: AnyArray) -> torch.Tensor:
    """Return a tensor with the array's order in memory, which shares no memory with it.

    An axis along which the array repeats itself (of stride 0) is one of the tensor, too.
    """
    first = tuple(slice(0, 1) if step == 0 else slice(None) for step in array.strides)
    return torch.from_numpy(array[first].copy(order="K")).expand(array.shape)


def leaf_of(array: AnyArray, way: Variant) -> torch.Tensor:
    """Return x as a leaf in the format, and with a gradient or none, that a variant asks for."""
    tensor = tensor_of(array)
    format_ = getattr(torch, way.dtype) if way.dtype else tensor.dtype
    return tensor.to(format_).requires_grad_(way.needs_dx)


def array_of(name: str, y: Any) -> AnyArray:
    """Return y as an array, or raise SubjectError if it is no tensor."""
    tensor = _first_of(y)
    if tensor is None:
        raise SubjectError.returned_none(name, "y")
    if not isinstance(tensor, torch.Tensor):
        raise SubjectError.no_array(name, "y", tensor)
    detached = tensor.detach().cpu()
    # NumPy has no bfloat16; float32 holds all of its values.
    wide = detached if detached.dtype == torch.float64 else detached.float()
    return wide.numpy().copy()


def gradients(name: str, y: Any, dy: AnyArray, leaves: Mapping[str, torch.Tensor]) -> Run:
    """Return y and the gradients of sum(y*dy).

    Parameters
    ----------
    name
        What messages call the subject.
    y
        What it returned.
    dy
        Incoming gradient.
    leaves
        The tensors "x", "gamma", "beta", or those of them that there are.

    Returns
    -------
    Run
        Gradients in the shapes of the leaves.

    Raises
    ------
    SubjectError
        If y has a wrong shape, or does not depend on x.
    """
    value = array_of(name, y)
    if value.shape != dy.shape:
        raise SubjectError.wrong_shape(name, "y", value.shape, dy.shape)
    tensor = _first_of(y)
    if not tensor.requires_grad:
        raise SubjectError.returned_none(name, "dx")
    wanted = {role: leaf for role, leaf in leaves.items() if leaf.requires_grad}
    found: Sequence[torch.Tensor | None] = torch.autograd.grad(
        tensor, list(wanted.values()), tensor_of(dy).to(tensor.dtype), allow_unused=True
    )
    reached = zip(wanted, found, strict=True)
    arrays = {role: array_of(name, g) for role, g in reached if g is not None}
    if "x" in wanted and "x" not in arrays:
        raise SubjectError.returned_none(name, "dx")
    dx = arrays.get("x", np.zeros_like(value))
    return Run(value, dx, arrays.get("gamma"), arrays.get("beta"))


def higher_gradients(
    name: str,
    y: Any,
    dy: AnyArray,
    leaves: Mapping[str, torch.Tensor],
    along: Sequence[AnyArray],
) -> dict[str, AnyArray]:
    """Differentiate sum(along[0]*dx) and so on; see `DeepBox`.

    Parameters
    ----------
    name
        What messages call the subject.
    y
        What it returned, with a graph.
    dy
        Incoming gradient.
    leaves
        The tensors "x", "gamma", "beta", or those of them that there are.
    along
        A direction for each order beyond the first.

    Returns
    -------
    dict
        Gradients by "x", "gamma", "beta" and "dy"; empty where the gradient has no graph.
    """
    tensor, x = _first_of(y), leaves["x"]
    upstream = tensor_of(dy).to(tensor.dtype).requires_grad_()
    (slope,) = torch.autograd.grad(tensor, x, upstream, create_graph=True)
    for direction in along[:-1]:
        if not slope.requires_grad:
            return {}
        (slope,) = torch.autograd.grad(
            slope,
            x,
            tensor_of(direction).to(slope.dtype),
            create_graph=True,
            materialize_grads=True,
        )
    if not slope.requires_grad:
        return {}
    wanted = {**leaves, "dy": upstream}
    for leaf in wanted.values():
        leaf.grad = None
    # `grad` goes only where it must to reach the leaves: a function that refuses to be
    # differentiated twice lies elsewhere, and would not be heard.
    torch.autograd.backward(slope, tensor_of(along[-1]).to(slope.dtype))
    found = {role: leaf.grad for role, leaf in wanted.items()}
    return {role: array_of(name, g) for role, g in found.items() if g is not None}


def running_statistics(role: str, shape: Shape) -> torch.Tensor:
    """Return running statistics that no batch has: the probes' means are 1.5 and more."""
    generator = torch.Generator().manual_seed(1)
    uniform = torch.rand(shape, generator=generator)
    return uniform + 0.5 if role == "running_var" else 2 * uniform - 1


@contextlib.contextmanager
def alike(threads: int = 1) -> Iterator[None]:
    """Let calls be alike: the same random numbers, and so many threads; then restore both.

    On inputs this small a second thread only waits. With both cores busy it waited ten times as
    long as the audit took (36 s for 3 s, PyTorch 2.13).
    """
    state, before = torch.default_generator.get_state(), torch.get_num_threads()
    torch.default_generator.manual_seed(0)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.default_generator.set_state(state)


def _first_of(y: Any) -> Any:
    """Return y, and where a module returns more than y, its first part."""
    return y[0] if isinstance(y, tuple | list) and y else y
