"""A layer of every dialect, and data to run it on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import backnorm as bn
from backnorm.dialects import DIALECTS, row_of
from backnorm.dialects.columns import REQUIRED, Choice
from backnorm.dialects.settings import options_of

if TYPE_CHECKING:
    from collections.abc import Mapping

C = 4

GOLDENS = Path(__file__).parent / "goldens"

GOLDEN: Mapping[str, Mapping[str, Any]] = {
    name: json.loads((GOLDENS / f"{name}.json").read_text()) for name in DIALECTS
}
"""What is expected of each dialect, written by hand."""

OPTIONS: Mapping[str, Mapping[str, Any]] = {name: GOLDEN[name]["options"] for name in DIALECTS}
"""The options with which a layer has gamma and beta."""

REQUIRED_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    dialect: {
        name: OPTIONS[dialect][name]
        for name, option in options_of(row_of(dialect)).items()
        if option.default is REQUIRED
    }
    for dialect in DIALECTS
}
"""The options without a default, as the golden has them."""


def make(dialect: str, **more: Any) -> bn.BatchNorm:
    """A new layer with gamma and beta."""
    return bn.BatchNorm(C, dialect=dialect, **{**OPTIONS[dialect], **more})


def batch(seed: int = 0, dtype: str = "f4", size: int = 8) -> Any:
    """A batch of shape (size, C), where axis 1 is the last: it suits every dialect."""
    return np.random.default_rng(seed).normal(1, 2, (size, C)).astype(dtype)


def names(dialect: str) -> dict[str, str]:
    """The framework's name of each array that is updated or trained, by its role."""
    roles = ("gamma", "beta", "mean", "var")
    return {a.role: a.name for a in row_of(dialect).arrays.known if a.role in roles}


def with_parameters(layer: bn.BatchNorm, seed: int = 1) -> bn.BatchNorm:
    """The same layer with a gamma and a beta of some size."""
    rng = np.random.default_rng(seed)
    state, name = layer.state(), names(layer.dialect)
    state[name["gamma"]] = rng.uniform(0.5, 2, C).astype(state[name["mean"]].dtype)
    state[name["beta"]] = rng.normal(size=C).astype(state[name["mean"]].dtype)
    return layer.load_state(state)


def trained(dialect: str, dtype: str = "f4") -> bn.BatchNorm:
    """A layer after three updates, with a gamma and a beta of some size."""
    layer = make(dialect)
    for seed in range(3):
        x = batch(seed, dtype)
        layer.forward(x)
        layer.backward(np.ones_like(x))
    return with_parameters(layer)


def dialects_with(column: str, value: object) -> list[str]:
    """The dialects whose rows have that value in a column, or among the meanings of an option."""
    facts = {name: getattr(row_of(name), column).value for name in DIALECTS}
    return [
        name
        for name, fact in facts.items()
        if fact == value or (isinstance(fact, Choice) and value in fact.meaning.values())
    ]


LAW = ("storage", "running_var", "copied_updates", "normalizes_with")
"""The columns that tell how running statistics are kept, but for when."""


def same_law(dialect: str) -> str:
    """The dialects that keep their running statistics as this one does, as a finding lists them."""

    def law(name: str) -> tuple[object, ...]:
        row = row_of(name)
        in_backward = row.updates_in.known == "backward"
        return (in_backward, *(getattr(row, column).known for column in LAW))

    return ", ".join(name for name in DIALECTS if law(name) == law(dialect))


__all__ = [
    "DIALECTS",
    "GOLDEN",
    "GOLDENS",
    "OPTIONS",
    "REQUIRED_OPTIONS",
    "C",
    "batch",
    "dialects_with",
    "make",
    "names",
    "same_law",
    "trained",
    "with_parameters",
]
