"""The engine of this package as subjects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from backnorm.audit.subject import Run, Subject
from backnorm.ops import batch_norm, batch_norm_backward

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.audit.subjects.adapter import Calls
    from backnorm.results import Forward

__all__ = ["engine_subjects"]

SAMPLE_SHAPE = (3, 2, 2)


@dataclass(frozen=True, slots=True, eq=False)
class EngineBox:
    """`batch_norm` and its backward pass; with `frozen`, over constant statistics."""

    frozen: bool

    def _pass(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None) -> Forward:
        if not self.frozen:
            return batch_norm(x, gamma, beta)
        c = x.shape[1]
        mean, var = np.linspace(-1.0, 1.0, c), np.linspace(0.5, 2.0, c)
        return batch_norm(x, gamma, beta, running_mean=mean, running_var=var)

    def forward(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None) -> AnyArray:
        """Return y."""
        return self._pass(x, gamma, beta).y

    def run(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray) -> Run:
        """Return y and the gradients."""
        fwd = self._pass(x, gamma, beta)
        g = batch_norm_backward(dy, fwd)
        return Run(fwd.y, cast("AnyArray", g.dx), g.dgamma, g.dbeta)


def engine_subjects(calls: Calls = "both") -> tuple[Subject, ...]:
    """Return the engine in training and with frozen statistics."""
    subjects = (
        Subject(
            "backnorm.batch_norm",
            "batch",
            EngineBox(frozen=False),
            SAMPLE_SHAPE,
            (3,),
            call="train",
        ),
        Subject(
            "backnorm.batch_norm (frozen)",
            "batch",
            EngineBox(frozen=True),
            SAMPLE_SHAPE,
            (3,),
            call="eval",
        ),
    )
    return tuple(s for s in subjects if calls not in ("train", "eval") or s.call == calls)
