"""The machine of a run: two runs are compared only where it is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from backnorm.bench.summary import CACHED_BYTES
from backnorm.kernels import native_kernel
from backnorm.report.environment import processor

__all__ = ["cache_of", "machine"]

CACHES: Final = Path("/sys/devices/system/cpu/cpu0/cache")
UNKNOWN_L2: Final = 2**20
UNITS: Final = {"K": 2**10, "M": 2**20, "G": 2**30}


def machine() -> dict[str, str | int]:
    """Return the processor, its best instruction set for the engine, and its caches in bytes."""
    levels = native_kernel.levels()
    return {
        "processor": processor(),
        "level": levels[0] if levels else "numpy",
        **{f"L{level}": size for level, size in _caches().items()},
    }


def cache_of(nbytes: int, threads: int) -> str:
    """Return which memory serves a case: "L2", "L3" or "memory".

    Parameters
    ----------
    nbytes
        Bytes of x.
    threads
        Each has a second-level cache, and x and y must fit them all together.
    """
    if 2 * nbytes <= threads * _caches().get(2, UNKNOWN_L2):
        return "L2"
    return "L3" if nbytes <= CACHED_BYTES else "memory"


def _caches() -> dict[int, int]:
    """Return the bytes of a core's second-level and third-level cache, where Linux tells them."""
    sizes = {}
    for folder in sorted(CACHES.glob("index*")):
        level, kind, size = (
            (folder / name).read_text(encoding="ascii").strip()
            for name in ("level", "type", "size")
        )
        if kind == "Unified":
            sizes[int(level)] = int(size[:-1]) * UNITS[size[-1]]
    return sizes
