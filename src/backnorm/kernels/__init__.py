"""The kernels: the engine's computations, fast. `get` returns one by its name."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from backnorm.errors import NotInstalledError, UnknownNameError
from backnorm.kernels import memory, native_kernel, numpy_kernel

if TYPE_CHECKING:
    from backnorm.kernels._contract import Kernel

__all__ = ["available", "describe", "get"]


@cache
def available() -> tuple[str, ...]:
    """Return the names that `get` knows on this machine; the first is the fastest."""
    return (*(f"native-{level}" for level in native_kernel.levels()), "numpy")


@cache
def get(name: str = "auto") -> Kernel:
    """Return the kernel of this name.

    Parameters
    ----------
    name
        "auto" (the fastest one), "numpy", "native", or "native-LEVEL" with one of the
        instruction-set levels of this processor.

    Raises
    ------
    UnknownNameError
        If no kernel has this name.
    NotInstalledError
        If a native kernel is asked for, and the C++ part was not built.
    """
    best = available()[0]
    if str(name).startswith("native") and best == "numpy":
        raise NotInstalledError.native_kernel()
    if name in ("auto", "native"):
        name = best
    if name not in available():
        raise UnknownNameError.choice("kernel", name, ("auto", "native", *available()))
    if name == "numpy":
        return numpy_kernel.KERNEL
    return native_kernel.at_level(name.removeprefix("native-"))


def describe() -> dict[str, str]:
    """Return the available kernels and the one in use, as text for people."""
    kernel = get()
    built = kernel.name == "native"
    return {
        "kernel": kernel.name,
        "instruction set": kernel.level,
        "kernels available": ", ".join(available()),
        "native part": "built" if built else "not built: NumPy is used, which is slower",
        "output memory": _memory(),
    }


def _memory() -> str:
    now = memory.usage()
    if not now:
        return "not recycled"
    return (
        f"{now['lent'] >> 20} MiB lent, {now['idle'] >> 20} MiB idle of at most "
        f"{now['limit'] >> 20} MiB, {now['fresh']} buffers fresh, {now['recycled']} recycled"
    )
