"""Proxies of torch.fx for tensors, with the operators that write to their first operand.

fx's own proxies do not have these operators, so `y += x` would be traced as y = y + x: other names
of y, the caller's among them, would keep the old value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import fx

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Tracer", "iadd", "imul", "isub", "itruediv"]


# These stand for the functions of `operator`, for which fx writes the statement `a += b`. If a is a
# number, the statement gives its name a new value, and later code that needs the old one is wrong.


def iadd(value: Any, other: Any) -> Any:
    """Return value += other."""
    value += other
    return value


def isub(value: Any, other: Any) -> Any:
    """Return value -= other."""
    value -= other
    return value


def imul(value: Any, other: Any) -> Any:
    """Return value *= other."""
    value *= other
    return value


def itruediv(value: Any, other: Any) -> Any:
    """Return value /= other."""
    value /= other
    return value


def _recorded(function: Any) -> Any:
    def method(self: fx.Proxy, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return method


def _refused(self: fx.Proxy, _: Any) -> Any:
    message = "an operator that writes to its first operand"
    raise NotImplementedError(message)


class _StandIn(fx.Proxy):
    """A tensor, or anything computed from tensors."""

    __iadd__ = _recorded(iadd)
    __isub__ = _recorded(isub)
    __imul__ = _recorded(imul)
    __itruediv__ = _recorded(itruediv)
    __iand__ = __ifloordiv__ = __ilshift__ = __imatmul__ = _refused
    __imod__ = __ior__ = __ipow__ = __irshift__ = __ixor__ = _refused


class Tracer(fx.Tracer):
    """Records every child as one call, and every operator that writes to its operand."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        """Whether a child stays a call."""
        return True

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Return the stand-in for a node."""
        return _StandIn(node, self)
