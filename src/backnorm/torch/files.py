"""New files of PyTorch, .pt: written by `torch.save`. They are read without torch."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from backnorm.convert.files._dtypes import BEYOND_NUMPY
from backnorm.convert.files._guard import guard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm._types import AnyArray

__all__ = ["saved"]

SAME_SIZE: Final = {1: np.uint8, 2: np.int16}
"""By its bytes, the dtype through which values of `BEYOND_NUMPY` pass from NumPy to PyTorch."""


def saved(file: str, arrays: Mapping[str, AnyArray]) -> bytes:
    """Return a file that holds a state_dict.

    Parameters
    ----------
    file
        Its name, for messages.
    arrays
        By name, in dtypes that PyTorch has.

    Returns
    -------
    bytes
        As `torch.save` writes them.
    """
    stream = io.BytesIO()
    torch.save({name: _tensor(file, name, array) for name, array in arrays.items()}, stream)
    return stream.getvalue()


def _tensor(file: str, name: str, array: AnyArray) -> torch.Tensor:
    plain = np.array(array, order="C")  # a copy: torch requires writable memory
    with guard(file, f"torch, {name}"):
        if plain.dtype.name in BEYOND_NUMPY:
            through = torch.from_numpy(plain.view(SAME_SIZE[plain.dtype.itemsize]))
            return through.view(getattr(torch, plain.dtype.name))
        return torch.from_numpy(plain)
