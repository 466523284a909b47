"""A process group that counts its collectives and the bytes that it is given."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed
from torch.distributed.distributed_c10d import _world

__all__ = ["Counting", "counting_group"]


class Counting(distributed.ProcessGroup):
    """Hands all on to a group of gloo."""

    def __init__(self, store: Any, rank: int, size: int, timeout: Any) -> None:
        super().__init__(rank, size)
        self.inner = distributed.ProcessGroupGloo(store, rank, size, timeout)
        self.sizes: list[int] = []

    def allreduce(self, tensors: list[torch.Tensor], options: Any) -> Any:
        """Count, and add."""
        self.sizes += [tensor.nbytes for tensor in tensors]
        return self.inner.allreduce(tensors, options)

    def getGroupName(self) -> str:  # noqa: N802 - the name in PyTorch
        """Return the name by which PyTorch finds the group."""
        return _world.pg_names[self]

    def getBackendName(self) -> str:  # noqa: N802 - the name in PyTorch
        """Return a name."""
        return "counting"


def counting_group() -> Counting:
    """Return such a group of all ranks; groups of some of its ranks count too."""
    if "counting" not in distributed.Backend.backend_list:
        distributed.Backend.register_backend("counting", Counting, devices=["cpu"])
    group = distributed.new_group(backend="counting")
    assert isinstance(group, Counting), type(group)
    return group
