"""One batch normalization as a file has it, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

SPELLINGS = {
    "torch": ("{}.weight", "{}.bias", "{}.running_mean", "{}.running_var"),
    "keras": ("{}/gamma", "{}/beta", "{}/moving_mean", "{}/moving_variance"),
    "flax": (
        "params/{}/scale",
        "params/{}/bias",
        "batch_stats/{}/mean",
        "batch_stats/{}/var",
    ),
}
"""For each framework the names of gamma, beta, mean and variance of a layer."""


@dataclass(frozen=True)
class Norm:
    """One batch normalization: its arrays in float64, and eps or None if the file lacks it."""

    name: str
    gamma: Any
    beta: Any
    mean: Any
    var: Any
    eps: float | None = None


def norms_in(arrays: Mapping[str, Any], spelling: tuple[str, str, str, str]) -> list[Norm]:
    """Return the layers among named arrays."""
    before, _, after = spelling[-1].partition("{}")
    names = [key[len(before) : len(key) - len(after)] for key in arrays if key.endswith(after)]
    return [norm_of(name, *(arrays.get(key.format(name)) for key in spelling)) for name in names]


def norm_of(
    name: str, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float | None = None
) -> Norm:
    """Return a layer in float64; a missing gamma is 1 and a missing beta is 0."""
    arrays = [None if array is None else np.asarray(array, np.float64) for array in (gamma, beta)]
    mean, var = np.asarray(mean, np.float64), np.asarray(var, np.float64)
    gamma = np.ones_like(mean) if arrays[0] is None else arrays[0]
    beta = np.zeros_like(mean) if arrays[1] is None else arrays[1]
    return Norm(name, gamma, beta, mean, var, eps)
