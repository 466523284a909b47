"""The fused forward of a Sequential: its children as they are at each call, one after the other."""

from __future__ import annotations

from typing import Any, Final

from torch import nn

from backnorm.torch.conversion import generated, layers
from backnorm.torch.conversion.classes import why_no_subclass
from backnorm.torch.conversion.deferral import Deferred, absorb, defer, settle
from backnorm.torch.conversion.layers import FusionResult
from backnorm.torch.conversion.outcomes import Outcome

__all__ = ["fuse"]

FORWARD: Final = nn.Sequential.forward
"""As it is when backnorm is imported."""


@generated.recipe("sequence")
def _members(base: Any, acts: bool, inplace: bool) -> dict[str, Any]:  # noqa: FBT001 - details of a class
    def _forward(self: Any, input: Any) -> Any:  # noqa: A002 - the name in torch.nn
        if base.forward is not FORWARD:  # replaced since
            return base.forward(self, input)
        x, before = input, None
        for module in self:
            if isinstance(x, Deferred):
                if acts and absorb(module, x):
                    before = module
                    continue
                x = settle(x, module)
            x = defer(module, x, before if inplace else None)
            before = module
        return settle(x)

    return {"forward": _forward}


def fuse(sequence: nn.Sequential, *, acts: bool, inplace: bool) -> dict[nn.Module, FusionResult]:
    """Fuse normalizations in a Sequential.

    Parameters
    ----------
    sequence
        The Sequential; it gets another class if anything is fused.
    acts
        Whether to fuse activations.
    inplace
        Whether y takes the memory of x where that is safe.

    Returns
    -------
    dict
        The result for each converted normalization among its children.
    """
    why = why_no_subclass(sequence)
    children = list(sequence)
    if why:
        reason = FusionResult(why=f"{type(sequence).__name__}: {why}")
        return {module: reason for module in children if layers.is_fusible(module)}
    results: dict[nn.Module, FusionResult] = {}
    for at, module in enumerate(children):
        if layers.is_fusible(module):
            result = _result(children, at, acts=acts, inplace=inplace)
            if module not in results or result.fused or result.in_place:
                results[module] = result
    if any(result.fused or result.in_place for result in results.values()):
        made = generated.subclass("sequence", type(sequence), acts, inplace)
        generated.become([sequence], made)
    return results


def _result(children: list[nn.Module], at: int, *, acts: bool, inplace: bool) -> FusionResult:
    outcome = Outcome(children[at], children[at - 1] if at and inplace else None)
    rest = children[at + 1 :]
    while rest and acts and outcome.call(rest[0]):
        rest.pop(0)
    return outcome.result(rest[0] if rest else None, written=False, acts=acts, inplace=inplace)
