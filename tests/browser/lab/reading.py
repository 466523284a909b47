"""Read the numbers of the page with all their digits, and compute them with the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from backnorm import batch_norm, batch_norm_backward

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from browser.chromium import Tab

__all__ = ["CLOSE", "dx", "forward", "number", "table"]

CLOSE = 1e-6
"""What the page promises. Its formulas have errors of 1e-15, and its slopes of 1e-10."""

ROWS = """[...document.querySelectorAll('#{} tbody tr')].map(row => [...row.cells].slice(1).map(
    cell => cell.dataset.value === undefined ? null : Number(cell.dataset.value)))"""


def table(lab: Tab, name: str) -> NDArray[Any]:
    """Return the numbers of a table, without the headings of the rows."""
    return np.array(lab.value(ROWS.format(name)), float)


def number(lab: Tab, name: str) -> float:
    """Return the number that an element shows."""
    return float(lab.value(f"document.getElementById('{name}').dataset.value"))


def forward(x: NDArray[Any]) -> tuple[float, float, NDArray[Any]]:
    """Return mean, variance and x_hat of one channel by the engine, with eps = 0."""
    fwd = batch_norm(x[:, None], eps=0.0)
    return float(x.mean()), float(x.var()), fwd.y.ravel()


def dx(
    x: NDArray[Any], dy: NDArray[Any], through: Any = "both", *, eps: float = 0.0
) -> NDArray[Any]:
    """Return the gradient of one channel by the engine."""
    fwd = batch_norm(x[:, None], eps=eps)
    gradients = batch_norm_backward(dy[:, None], fwd, through=through)
    assert gradients.dx is not None
    return gradients.dx.ravel()
