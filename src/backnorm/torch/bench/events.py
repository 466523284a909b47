"""Where the time of a step goes, by the events of PyTorch's profiler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CONVOLUTIONS", "COUNTED", "FORWARD", "PARTS", "seconds"]

FORWARD: Final = "backnorm bench: forward"
"""Around the forward pass of a step."""

COUNTED: Final = frozenset({
    "aten::native_batch_norm",
    "aten::native_batch_norm_backward",
    "aten::relu",
    "aten::relu_",
    "aten::threshold_backward",
    "aten::relu6",
    "aten::relu6_",
    "aten::hardtanh",
    "aten::hardtanh_",
    "aten::hardtanh_backward",
    "aten::leaky_relu",
    "aten::leaky_relu_",
    "aten::leaky_relu_backward",
    "aten::silu",
    "aten::silu_",
    "aten::silu_backward",
    "_OutOfPlace",
    "_OutOfPlaceBackward",
    "_InPlace",
    "_InPlaceBackward",
})  # fmt: skip
"""Events of the profiler that belong to normalization or its activation."""

CONVOLUTIONS: Final = frozenset({"aten::convolution", "aten::convolution_backward"})

PARTS: Final = ("normalization", "convolution")
"""What `seconds` tells apart; normalization is with its activation."""

_ADDS: Final = frozenset({"aten::add", "aten::add_"})


def seconds(events: Iterable[Any]) -> dict[str, float]:
    """Return the seconds of a step in each of `PARTS`.

    Residual sums of the forward pass count as normalization, since they can be fused with it.
    """
    total = dict.fromkeys(PARTS, 0.0)
    for event in events:
        part = _outermost(event)
        if part is not None:
            total[part] += 1e-6 * float(event.cpu_time_total)
    return total


def _part(event: Any) -> str | None:
    if event.name in CONVOLUTIONS:
        return "convolution"
    return "normalization" if _is_counted(event) else None


def _is_counted(event: Any) -> bool:
    if event.name in _ADDS:
        shapes = event.input_shapes
        return bool(shapes) and len(shapes[0]) > 1 and FORWARD in _callers(event)
    return event.name in COUNTED


def _outermost(event: Any) -> str | None:
    """Return the part of an event; None if it has none, or an event around it has one."""
    caller = event.cpu_parent
    while caller is not None:
        if _part(caller) is not None:
            return None
        caller = caller.cpu_parent
    return _part(event)


def _callers(event: Any) -> list[str]:
    names = []
    while (event := event.cpu_parent) is not None:
        names.append(event.name)
    return names
