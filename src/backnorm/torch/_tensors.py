"""Between arrays and tensors: what a torch callable returned, and the gradients of it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

from backnorm.audit.subject import Run
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backnorm._types import AnyArray, Shape

__all__ = ["alike", "array_of", "gradients", "running_statistics", "tensor_of"]


def tensor_of(array: AnyArray) -> torch.Tensor:
    """Return a tensor that shares no memory with the array."""
    return torch.from_numpy(array.copy())


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
    upstream = torch.from_numpy(dy).to(tensor.dtype)
    found: Sequence[torch.Tensor | None] = torch.autograd.grad(
        tensor, list(leaves.values()), upstream, allow_unused=True
    )
    reached = zip(leaves, found, strict=True)
    arrays = {role: array_of(name, g) for role, g in reached if g is not None}
    if "x" not in arrays:
        raise SubjectError.returned_none(name, "dx")
    return Run(value, arrays["x"], arrays.get("gamma"), arrays.get("beta"))


def running_statistics(role: str, shape: Shape) -> torch.Tensor:
    """Return running statistics that no batch has: the probes' means are 1.5 and more."""
    generator = torch.Generator().manual_seed(1)
    uniform = torch.rand(shape, generator=generator)
    return uniform + 0.5 if role == "running_var" else 2 * uniform - 1


@contextlib.contextmanager
def alike() -> Iterator[None]:
    """Let calls be alike: the same random numbers, and one thread; then restore both.

    On inputs this small a second thread only waits. With both cores busy it waited ten times as
    long as the audit took (36 s for 3 s, PyTorch 2.13).
    """
    state, threads = torch.default_generator.get_state(), torch.get_num_threads()
    torch.default_generator.manual_seed(0)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.default_generator.set_state(state)


def _first_of(y: Any) -> Any:
    """Return y, and where a module returns more than y, its first part."""
    return y[0] if isinstance(y, tuple | list) and y else y
