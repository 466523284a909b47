"""What becomes of a normalization where it is called now: what the report of a conversion says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from backnorm.torch.conversion import hooks, overwriting
from backnorm.torch.conversion.deferral import NO_KEYWORDS, Deferred, absorb, chosen
from backnorm.torch.conversion.layers import FusionResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

__all__ = ["NOTHING", "Outcome"]

NOTHING: Final = "no activation of the engine follows directly, or its output is used elsewhere"


class Outcome:
    """A normalization that waits, without a call: what follows is told instead of done.

    Parameters
    ----------
    norm
        The converted layer.
    before
        The module that makes its input, as for `deferral.defer`.
    """

    def __init__(self, norm: nn.Module, before: nn.Module | None) -> None:
        self.value = Deferred(norm, torch.empty(0), before)
        self.why = "it has hooks" if hooks.has_hooks(norm) else ""

    def call(
        self,
        function: Any,
        arguments: tuple[Any, ...] = (),
        keywords: Mapping[str, Any] = NO_KEYWORDS,
    ) -> bool:
        """Tell that the value is given to a function; return whether it still waits."""
        return not self.why and absorb(function, self.value, arguments, keywords)

    def add(self) -> bool:
        """Tell that a tensor is added; return whether the value still waits."""
        if self.why or self.value.act is not None or self.value.residual is not None:
            return False
        self.value.residual = self.value.x
        return True

    def guard(self, name: str, module: nn.Module | None) -> bool:
        """Tell that a child is called meanwhile; return whether the value still waits."""
        if module is None or not overwriting.only_reads(module, self.value.norm):
            self.why = (
                self.why or f"{name} is called before the activation and may change its input"
            )
        return not self.why

    def result(
        self, after: nn.Module | None, *, written: bool, acts: bool, inplace: bool
    ) -> FusionResult:
        """Return the result, as told up to now.

        Parameters
        ----------
        after, written
            As for `deferral.settle`.
        acts, inplace
            What the conversion was asked for.
        """
        act, why = chosen(self.value, after, written)
        reasons = []
        if acts and act is None:
            reasons.append(self.why or self._why_not_fused())
        in_place = inplace and not (why or self.why)
        if inplace and not in_place:
            reasons.append(self.why or why)
        sums = "add + " * (self.value.residual is not None)
        fused = "" if act is None else sums + act.name
        if in_place:
            reasons = []
        return FusionResult(fused, in_place, "; ".join(dict.fromkeys(reasons)))

    def _why_not_fused(self) -> str:
        if self.value.act is None:
            return NOTHING
        name = self.value.act.name
        return f"its output is changed, which {name} allows and the fused one does not"
