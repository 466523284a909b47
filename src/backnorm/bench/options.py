"""What a benchmark times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backnorm._types import SumLaw

__all__ = ["BenchOptions"]


@dataclass(frozen=True)
class BenchOptions:
    """What to time.

    Attributes
    ----------
    suite, layouts, dtype, operations
        Which cases, and the operations to time on each.
    peers
        Frameworks of this environment, by their names in `peers.PEERS`.
    interpreters
        Frameworks of other environments: name -> interpreter.
    rounds
        Samples of each call.
    sums
        The engine's law of sums.
    """

    suite: str = "resnet50"
    layouts: tuple[str, ...] = ("nchw", "nhwc")
    dtype: str = "float32"
    operations: tuple[str, ...] = ("forward", "backward")
    peers: tuple[str, ...] = ()
    interpreters: tuple[tuple[str, str], ...] = ()
    rounds: int = 7
    sums: SumLaw = "float64"
