"""Check the buffers and requests of a backward call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm import _check
from backnorm.errors import RangeError
from backnorm.results import Gradients

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Request
    from backnorm.results import Forward

__all__ = ["NOTHING", "buffers"]

NOTHING = Gradients()


def buffers(into: Gradients, requests: dict[str, Request], fwd: Forward, dy: AnyArray) -> Gradients:
    """Return into, after checking each buffer against its request, its array and the others."""
    if not isinstance(into, Gradients):
        raise RangeError.no_gradients(into)
    for name, request in requests.items():
        _check.name_of(name, request, _check.REQUESTS)
    if into is NOTHING and "add" not in requests.values():
        return into
    checked = {name: _buffer(name, request, into, fwd) for name, request in requests.items()}
    saved = fwd.saved
    _check.no_overlap(
        {f"into.{name}": buffer for name, buffer in checked.items()},
        {"dy": dy, "x": saved.x, "fwd.y": fwd.y, "gamma": saved.gamma},
    )
    return Gradients(**checked)


def _buffer(name: str, request: Request, into: Gradients, fwd: Forward) -> AnyArray | None:
    buffer: AnyArray | None = getattr(into, name)
    owner = _owner(name, fwd)
    if buffer is None:
        if request == "add" and owner is not None:
            raise RangeError.missing_buffer(name)
        return None
    if request == "null":
        raise RangeError.useless_buffer(name, f"{name}='null'")
    if owner is None:
        raise RangeError.useless_buffer(name, f"the forward pass had no {name[1:]}")
    return _check.buffer(f"into.{name}", buffer, *owner)


def _owner(name: str, fwd: Forward) -> tuple[str, AnyArray] | None:
    saved = fwd.saved
    if name == "dresidual":
        return ("x", saved.x) if saved.has_residual else None
    owners = {"dx": saved.x, "dgamma": saved.gamma, "dbeta": saved.beta}
    owner = owners[name]
    return None if owner is None else (name[1:], owner)
