"""A normalization that waits for what follows it, so that one pass computes both.

The forward of a container calls these functions in place of its layers. `defer` stands for the call
of a normalization and may return a `Deferred`; `add`, `apply` and `call_method` take in what
follows; and `settle` computes the result. What the engine cannot compute in one pass is computed by
the same calls, in the same order, as without these functions.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final

import torch

from backnorm.torch.conversion import activations, hooks, layers, overwriting
from backnorm.torch.engine.autograd import only_default_device, transforms_active
from backnorm.torch.engine.kernels import CHANNELS_LAST, can_write
from backnorm.torch.engine.modules import BatchNorm1d, BatchNorm2d, BatchNorm3d
from backnorm.torch.engine.tools import is_program_made

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from backnorm.torch.conversion.activations import Act

__all__ = [
    "HELPERS",
    "NO_KEYWORDS",
    "Deferred",
    "absorb",
    "add",
    "apply",
    "call_method",
    "child",
    "chosen",
    "defer",
    "guard",
    "settle",
]

Call = tuple["Callable[..., Any] | str", tuple[Any, ...], "Mapping[str, Any]"]
Sum = tuple["Callable[..., Any]", bool]

AXES: Final = {BatchNorm1d: (2, 3), BatchNorm2d: (4,), BatchNorm3d: (5,)}
"""How many axes the input of a layer has."""

NO_KEYWORDS: Final[Mapping[str, Any]] = {}

PLAIN_TYPES: Final = (torch.Tensor, torch.nn.Parameter)


class Deferred:
    """The call of a normalization that has not been made yet.

    Attributes
    ----------
    norm, x
        The layer and its input.
    before
        The module that made x for this call only; None if it is unknown.
    residual, sum
        The other operand of a sum, the function that adds, and whether the residual comes first.
    act, call
        The activation, and the call that computes it: function and arguments after the first.
    """

    def __init__(self, norm: Any, x: torch.Tensor, before: nn.Module | None) -> None:
        self.norm = norm
        self.x = x
        self.before = before
        self.residual: torch.Tensor | None = None
        self.sum: Sum = (operator.add, False)
        self.act: Act | None = None
        self.call: Call | None = None


def defer(norm: Any, x: Any, before: nn.Module | None = None) -> Any:
    """Return norm(x), or a `Deferred` if nothing but the engine would run in that call."""
    return Deferred(norm, x, before) if _may_wait(norm, x) else norm(x)


def _may_wait(norm: Any, x: Any) -> bool:
    return (
        type(x) in PLAIN_TYPES
        and layers.is_fusible(norm)
        # What it refuses is refused now, not after what follows.
        and x.dim() in AXES[type(norm)]
        and x.shape[1] == norm.num_features
        and x.numel() > x.shape[1]
        and hooks.is_bare(norm)
        and not hooks.hears_every_call()
        # A program holds PyTorch's operators, and names the module that each comes from.
        and not is_program_made()
        and only_default_device()
    )


def add(function: Callable[..., Any], left: Any, right: Any) -> Any:
    """Return function(left, right), a sum, or take it in."""
    if not isinstance(left, Deferred) and not isinstance(right, Deferred):
        return function(left, right)
    if isinstance(left, Deferred):
        value, other, swapped = left, right, False
    else:
        value, other, swapped = right, left, True
    adds = any(function is one for one in ADDS)
    if adds and value.residual is None and value.act is None and _fits(other, value.x):
        value.residual = other
        value.sum = (function, swapped)
        return value
    return function(settle(left, written=True), settle(right))


ADDS: Final = (operator.add, operator.iadd, torch.add)


def _fits(residual: Any, x: torch.Tensor) -> bool:
    """Whether the engine adds a residual as PyTorch would, with the same strides of the sum."""
    return (
        type(residual) in PLAIN_TYPES
        and residual.shape == x.shape
        and residual.dtype == x.dtype
        and residual.device == x.device
        and residual.layout is x.layout is torch.strided
        and residual.stride() == x.stride()
        and _is_dense(x)
        and not transforms_active()
    )


def _is_dense(x: torch.Tensor) -> bool:
    return x.is_contiguous() or any(
        x.dim() == axes and x.is_contiguous(memory_format=memory_format)
        for axes, memory_format in CHANNELS_LAST.items()
    )


def apply(
    function: Any,
    value: Any,
    arguments: tuple[Any, ...] = (),
    keywords: Mapping[str, Any] = NO_KEYWORDS,
) -> Any:
    """Return function(value, ...), or take it in if it is an activation or an Identity."""
    if isinstance(value, Deferred):
        if absorb(function, value, arguments, keywords):
            return value
        is_module = isinstance(function, torch.nn.Module)
        value = settle(value, function if is_module else None, written=not is_module)
    return function(value, *arguments, **keywords)


def call_method(value: Any, name: str) -> Any:
    """Return value.name(), or take it in if it is an activation."""
    if isinstance(value, Deferred):
        if absorb(name, value):
            return value
        value = settle(value, written=True)
    return getattr(value, name)()


def absorb(
    function: Any,
    value: Deferred,
    arguments: tuple[Any, ...] = (),
    keywords: Mapping[str, Any] = NO_KEYWORDS,
) -> bool:
    """Take a call of a function, a module, or a method by its name, into what waits.

    Returns
    -------
    bool
        Whether it was taken in.
    """
    act: Act | None
    if isinstance(function, torch.nn.Module):
        if arguments or keywords:
            return False
        if hooks.is_identity(function):
            return True
        act = activations.of_module(function)
    else:
        act = activations.of_call(function, arguments, keywords)
    if act is None or value.act is not None:
        return False
    value.act, value.call = act, (function, arguments, keywords)
    return True


def guard(value: Any, module: nn.Module | None) -> Any:
    """Compute what waits, unless a call of a module leaves everything that it reads as it is."""
    if not isinstance(value, Deferred):
        return value
    waits = module is not None and overwriting.only_reads(module, value.norm)
    return value if waits else settle(value)


def settle(value: Any, after: Any = None, written: bool = False) -> Any:  # noqa: FBT001, FBT002 - generated code calls it
    """Return a value, computed now if it was deferred.

    Parameters
    ----------
    value
        Anything.
    after
        The module that reads it, and nothing else does; None if that is not known.
    written
        Whether the value may be written to afterwards.
    """
    if not isinstance(value, Deferred):
        return value
    act, why = chosen(value, after, written)
    if act is None and why:
        return _separately(value)
    name, slope = ("identity", 0.01) if act is None else (act.name, act.slope)
    return value.norm._normalize(  # noqa: SLF001
        value.x, activation=name, negative_slope=slope, residual=value.residual, inplace=not why
    )


def chosen(value: Deferred, after: nn.Module | None, written: bool) -> tuple[Act | None, str]:  # noqa: FBT001 - as above
    """Return the activation to compute in one pass, and why y may not take the memory of x."""
    act = value.act
    if act is not None and not (act.keeps_output or can_write(value.residual, act.name)):
        # The engine keeps an output that PyTorch does not keep: autograd would raise if it is
        # written to.
        act = None if written or not overwriting.leaves(after) else act
    if value.residual is not None:
        return act, overwriting.RESIDUAL
    if value.before is None:
        return act, overwriting.NEEDED
    if value.call is not None and act is None:
        return act, overwriting.CHANGED
    return act, overwriting.why_not(value.before, act, (after,))


def _separately(value: Deferred) -> Any:
    y = value.norm(value.x)
    if value.residual is not None:
        function, swapped = value.sum
        y = function(value.residual, y) if swapped else function(y, value.residual)
    if value.call is None:
        return y
    call, arguments, keywords = value.call
    return getattr(y, call)() if isinstance(call, str) else call(y, *arguments, **keywords)


def child(module: Any, name: str) -> nn.Module | None:
    """Return a child of a module by its name; None if the name stands for something else."""
    found = getattr(module, name, None)
    return found if found is module._modules.get(name) else None  # noqa: SLF001


HELPERS: Final[dict[str, Any]] = {
    "defer": defer,
    "add": add,
    "apply": apply,
    "call_method": call_method,
    "guard": guard,
    "settle": settle,
    "child": child,
    "plus": operator.add,
    "iadd": operator.iadd,
}
"""What generated code calls, by the names that it uses."""
