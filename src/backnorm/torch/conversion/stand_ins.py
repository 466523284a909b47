"""torch.fx's stand-ins for tensors, with the operators that write to their first operand.

fx has none of them, so that `y += x` would be traced as y = y + x: other names of y, the caller's
among them, would keep the value that they had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import fx

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Tracer", "iadd", "imul", "isub", "itruediv"]


# Functions of our own: what fx writes for those of `operator` is a statement, which gives another
# value to a name that is still read where the operand is a number.


def iadd(one: Any, other: Any) -> Any:
    """Return one += other."""
    one += other
    return one


def isub(one: Any, other: Any) -> Any:
    """Return one -= other."""
    one -= other
    return one


def imul(one: Any, other: Any) -> Any:
    """Return one *= other."""
    one *= other
    return one


def itruediv(one: Any, other: Any) -> Any:
    """Return one /= other."""
    one /= other
    return one


def _recorded(function: Any) -> Any:
    def method(self: fx.Proxy, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return method


def _refused(self: fx.Proxy, _: Any) -> Any:
    message = "an operator that writes to its first operand"
    raise NotImplementedError(message)


class _StandIn(fx.Proxy):
    """A tensor, or whatever comes of one."""

    __iadd__ = _recorded(iadd)
    __isub__ = _recorded(isub)
    __imul__ = _recorded(imul)
    __itruediv__ = _recorded(itruediv)
    __iand__ = __ifloordiv__ = __ilshift__ = __imatmul__ = _refused
    __imod__ = __ior__ = __ipow__ = __irshift__ = __ixor__ = _refused


class Tracer(fx.Tracer):
    """Keeps all children as calls, and writes down what writes."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        """Whether a child stays a call."""
        return True

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Return the stand-in for a node."""
        return _StandIn(node, self)
