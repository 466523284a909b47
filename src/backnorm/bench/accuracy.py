"""How far results are from the reference: beside a time, for a fast kernel may be a rough one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backnorm.bench import engine
from backnorm.results import Forward, Gradients

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm._types import AnyArray
    from backnorm.bench.engine import CaseArrays

__all__ = ["errors", "named"]


def named(result: object) -> dict[str, AnyArray]:
    """Return the arrays of a call of the engine by their names; nothing for other results."""
    if isinstance(result, Forward):
        return {"y": result.y}
    if isinstance(result, Gradients):
        found = {"dx": result.dx, "dgamma": result.dgamma, "dbeta": result.dbeta}
        return {name: array for name, array in found.items() if array is not None}
    return {}


def errors(op: str, arrays: CaseArrays, results: Mapping[str, AnyArray]) -> dict[str, float]:
    """Return the largest error of each result over the channels that the benchmark checks.

    Parameters
    ----------
    op
        The operation.
    arrays
        The case.
    results
        y, dx, dgamma, dbeta, or some of them.

    Returns
    -------
    dict
        In units of rounding of their dtype: of y and dx relative to the largest value of the
        channel, of dgamma and dbeta relative to themselves.
    """
    channels = engine.checked_channels(arrays)
    exact = engine.exact(op, arrays, channels) if results else {}
    return {name: _error(array, exact[name], channels) for name, array in results.items()}


def _error(result: AnyArray, exact: AnyArray, channels: list[int]) -> float:
    unit = 2.0**-8 if result.dtype.name == "bfloat16" else float(np.finfo(result.dtype).eps)
    if result.ndim == 1:
        difference, size = np.abs(result[channels].astype(np.float64) - exact), np.abs(exact)
    else:
        others = (0, *range(2, result.ndim))
        difference = np.abs(result[:, channels].astype(np.float64) - exact).max(others)
        size = np.abs(exact).max(others)
    with np.errstate(divide="ignore"):  # infinite where 0 is right and something else came
        share = np.divide(difference, size, out=np.zeros_like(size), where=difference > 0)
    return float(share.max()) / unit
