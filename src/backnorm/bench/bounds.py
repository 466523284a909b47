"""What bounds a pass: loops that read and write what it must, and compute nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from backnorm.kernels import native_kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm.bench.engine import CaseArrays

__all__ = ["BOUND", "bound_calls"]

BOUND: Final = "bound"
"""The names of the calls begin with it."""


class Walks(NamedTuple):
    """What a pass reads beside x, and how many of both arrays its sums need."""

    beside: str | None
    summed: int


WALKS: Final = {
    "forward": Walks(None, 1),
    "forward_relu": Walks(None, 1),
    "forward_residual_relu": Walks("residual", 1),
    "backward": Walks("dy", 2),
}


def bound_calls(op: str, layout: str, arrays: CaseArrays) -> dict[str, Callable[[], object]]:
    """Return loops with plain and with streaming stores: the faster is the bound of the operation.

    In NCHW the sums of a channel are complete when its values were read, and they are read again at
    once; in NHWC all values are read before the first is written.
    """
    if op not in WALKS:
        return {}
    walks = WALKS[op]
    x, target = _bytes(arrays.x), _bytes(arrays.out)
    beside = None if walks.beside is None else _bytes(getattr(arrays, walks.beside))
    channels = arrays.x.shape[1] if layout == "nchw" else 1
    piece = math.ceil(x.nbytes / channels)

    def call(*, streaming: bool) -> Callable[[], object]:
        return lambda: native_kernel.least_move(
            target, x, beside, piece, walks.summed, streaming=streaming
        )

    return {
        f"{BOUND} (plain)": call(streaming=False),
        f"{BOUND} (streaming)": call(streaming=True),
    }


def _bytes(array: np.ndarray) -> np.ndarray:
    return array.ravel(order="K").view(np.uint8)
