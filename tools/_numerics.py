"""The errors in docs/numerics.md, measured: a table, and a curve over more offsets for the figure.

It needs tests/ on the path: `make numerics`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import backnorm as bn
from backnorm.testing.budget import units
from backnorm.testing.cases import OFFSETS, Batch, make, plain_backward, plain_forward
from oracles import extended

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm._types import AnyArray

SHAPE = (16, 8, 28, 28)
ORDERS = ("contiguous", "channels last")
RESULTS = ("y", "dx", "dgamma", "dbeta")
CURVE = tuple(float(f"{10 ** (half / 2):.3g}") for half in range(13))
"""The offsets of the figure: two for each power of ten, up to the largest of the table."""


def backnorm(batch: Batch) -> tuple[Any, ...]:
    """Compute y, dx, dgamma and dbeta by the engine."""
    fwd = bn.batch_norm(batch.x, batch.gamma, batch.beta)
    g = bn.batch_norm_backward(batch.dy, fwd)
    return fwd.y, g.dx, g.dgamma, g.dbeta


def numpy(batch: Batch) -> tuple[Any, ...]:
    """Compute them by the usual lines: x.mean, x.var, all in float32."""
    y = plain_forward(batch.x, batch.gamma, batch.beta)
    return y, *plain_backward(batch.dy, batch.x, batch.gamma)


def pytorch(batch: Batch) -> tuple[Any, ...]:
    """Compute them by torch.nn.functional.batch_norm and autograd, keeping strides."""
    x, gamma, beta = (
        torch.from_numpy(array).requires_grad_() for array in (batch.x, batch.gamma, batch.beta)
    )
    y = torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True)
    y.backward(torch.from_numpy(batch.dy))
    return tuple(result.detach().numpy() for result in (y, x.grad, gamma.grad, beta.grad))


SUBJECTS = {"backnorm": backnorm, "NumPy": numpy, f"PyTorch {torch.__version__[:4]}": pytorch}


def errors(exact: dict[str, AnyArray], results: tuple[Any, ...]) -> Iterator[float]:
    """Give the largest error of each result, in units of its channel's largest value."""
    for name, got in zip(RESULTS, results, strict=True):
        axis = min(1, got.ndim - 1)
        yield float(units(np.asarray(got), exact[name], channel_axis=axis).max())


def shown(number: float) -> str:
    """Round to two digits."""
    return f"{number:.2g}" if number < 100 else f"{float(f'{number:.2g}'):.0f}"  # noqa: PLR2004


def rows() -> Iterator[str]:
    """Measure, and give the lines of the table."""
    yield "| mean/std | memory | by | " + " | ".join(RESULTS) + " |"
    yield "|---|---|---|" + "---|" * len(RESULTS)
    for offset in OFFSETS:
        for order in ORDERS:
            for subject, found in measured(offset, order).items():
                cells = " | ".join(map(shown, found.values()))
                yield f"| {offset:.0f} | {order} | {subject} | {cells} |"


def measured(offset: float, order: str) -> dict[str, dict[str, float]]:
    """Return the errors of each subject at an offset, by the names of the results."""
    batch = make(SHAPE, offset=offset)
    gradients = extended.backward(batch.dy, batch.x, batch.gamma)
    exact = {"y": extended.forward(batch.x, batch.gamma, batch.beta).y} | vars(gradients)
    placed = batch.laid_out(order)
    return {
        subject: dict(zip(RESULTS, errors(exact, compute(placed)), strict=True))
        for subject, compute in SUBJECTS.items()
    }


def curve() -> dict[str, Any]:
    """Return the errors of y and dx over the offsets of the figure, in contiguous memory."""
    order = ORDERS[0]
    points = [measured(offset, order) for offset in CURVE]
    return {
        "shape": SHAPE,
        "memory": order,
        "offsets": CURVE,
        "errors": {
            subject: {
                result: [float(f"{point[subject][result]:.3g}") for point in points]
                for result in ("y", "dx")
            }
            for subject in SUBJECTS
        },
    }


def table() -> str:
    """Return the table."""
    return "\n".join(rows()) + "\n"
