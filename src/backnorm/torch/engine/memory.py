"""What lies behind a tensor: plain memory, a lazy copy, or storage that was freed."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

import torch

from backnorm.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["as_read", "check", "is_lazy", "plain"]

_keys = torch._C._dispatch_keys


def _plain_keys() -> frozenset[int]:
    """Return the dispatch keys of plain tensors: memory of this process and nothing else."""
    with torch.inference_mode():
        inference = torch.empty(0, device="cpu")
    return frozenset(_keys(t).raw_repr() for t in (torch.empty(0, device="cpu"), inference))


PLAIN: Final = _plain_keys()


is_lazy: Final[Callable[[torch.Tensor], bool]] = torch._C._is_cow_tensor  # type: ignore[attr-defined]
"""Whether a tensor is a lazy copy, which shares memory until the first write."""


def plain(tensor: torch.Tensor | None) -> bool:
    """Whether a tensor is plain memory: not a wrapper, a lazy copy, on a device or traced."""
    return tensor is None or (_keys(tensor).raw_repr() in PLAIN and not is_lazy(tensor))


def as_read(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor that the kernels can read: the same one, or a view of a lazy copy's memory.

    DLPack exports memory for writing, so PyTorch would copy a lazy copy first.
    """
    if not is_lazy(tensor):
        return tensor
    width = tensor.element_size()
    storage = torch._C._data_address(tensor)  # type: ignore[attr-defined] # the same
    start = storage + width * tensor.storage_offset()
    memory = (ctypes.c_char * (width * _reach(tensor))).from_address(start)
    return torch.frombuffer(memory, dtype=tensor.dtype).as_strided(tensor.shape, tensor.stride())


def check(tensors: Mapping[str, torch.Tensor | None]) -> None:
    """Raise StorageError if the storage of a plain tensor was freed; each has its name.

    The kernels check what they are given themselves. This is for tensors that PyTorch's operations
    read, since many of these read freed memory without a check.
    """
    if torch.compiler.is_compiling():
        return
    for name, tensor in tensors.items():
        if tensor is None or tensor.numel() == 0 or not plain(tensor):
            continue
        needed = (tensor.storage_offset() + _reach(tensor)) * tensor.element_size()
        held = tensor.untyped_storage().nbytes()
        if held < needed:
            raise StorageError.too_small(name, int(needed), held)


def _reach(tensor: torch.Tensor) -> int:
    """Return how many values lie between the first and the last one, both included."""
    places = zip(tensor.shape, tensor.stride(), strict=True)
    return 1 + sum((size - 1) * stride for size, stride in places)
