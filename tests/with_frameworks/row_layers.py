"""The layer of a dialect's row, called as the audit calls a framework's layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

import backnorm as bn
from backnorm.audit.subjects.runner import Runner
from backnorm.dialects import row_of
from backnorm.dialects.settings import options_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm.audit.subject import Subject
    from backnorm.audit.subjects.runner import Step

__all__ = ["RowRunner", "as_row", "defaults_of"]


@dataclass(frozen=True, slots=True, eq=False)
class RowRunner:
    """Starts from the same state every time, as `backnorm.host.runners` asks.

    Attributes
    ----------
    dialect, options
        The row, and what its layer is made with.
    train
        The mode of `run` and `forward`.
    kept
        The state under the framework's names; what the row has no array for stays as it is.
    names
        The row's names of arrays by those names, where they differ.
    """

    dialect: str
    options: Mapping[str, Any]
    train: bool
    kept: Mapping[str, Any]
    names: Mapping[str, str]

    def state(self) -> Mapping[str, Any]:
        """Return the state that calls start from."""
        return self.kept

    def attached(self) -> list[str]:
        """Return nothing: NumPy has no graph."""
        return []

    def forward(self, x: Any, gamma: Any, beta: Any) -> Any:
        """Return y."""
        return self._last(self._layer(x, gamma, beta, train=self.train).forward(self._first(x)))

    def run(self, x: Any, gamma: Any, beta: Any, dy: Any) -> dict[str, Any]:
        """Return y and the gradients."""
        layer = self._layer(x, gamma, beta, train=self.train)
        y = self._last(layer.forward(self._first(x)))
        found = layer.backward(self._first(dy))
        return {"y": y, "dx": self._last(found.dx), "dgamma": found.dgamma, "dbeta": found.dbeta}

    def after(self, steps: Sequence[Step]) -> RowRunner:
        """Return the runner after some calls."""
        runner = self
        for step in steps:
            layer = runner._layer(step.x, step.gamma, step.beta, train=step.train)
            layer.forward(runner._first(step.x))
            if step.dy is not None:
                layer.backward(runner._first(step.dy))
            after = layer.state()
            moved = {
                name: after[runner._row_name(name)].reshape(np.shape(value))
                for name, value in runner.kept.items()
                if runner._row_name(name) in after
            }
            runner = replace(runner, kept={**runner.kept, **moved})
        return runner

    def _layer(self, x: Any, gamma: Any, beta: Any, *, train: bool) -> bn.BatchNorm:
        layer = bn.BatchNorm(len(gamma), dialect=self.dialect, **self.options)
        arrays = {array.name: array for array in row_of(self.dialect).arrays.known}
        state = {a.name: {"gamma": gamma, "beta": beta}.get(a.role) for a in arrays.values()}
        for name, value in self.kept.items():
            array = arrays.get(self._row_name(name))
            if array is not None:
                shape = len(gamma) if array.shape == "C" else array.shape
                state[array.name] = np.asarray(value, array.dtype or x.dtype).reshape(shape)
        layer.load_state({name: value for name, value in state.items() if value is not None})
        return layer.train() if train else layer.eval()

    def _row_name(self, name: str) -> str:
        return self.names.get(name, name)

    def _first(self, array: Any) -> Any:
        """Return the row's order of axes."""
        last = defaults_of(self.dialect)["channel_axis"] == -1
        return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if last else array.copy()

    def _last(self, array: Any) -> Any:
        last = defaults_of(self.dialect)["channel_axis"] == -1
        return np.moveaxis(array, -1, 1) if last else array


def defaults_of(dialect: str) -> dict[str, Any]:
    """Return a row's default options, and its channel axis by default."""
    row = row_of(dialect)
    axis = row.axis.known
    options = {name: option.default for name, option in options_of(row).items()}
    return {**options, "channel_axis": axis.meaning.get(axis.default, axis.default)}


def as_row(
    subject: Subject, dialect: str, options: Mapping[str, Any], names: Mapping[str, str]
) -> Subject:
    """Return a framework's subject with the layer of a row in place of the framework's."""
    train = subject.call != "eval"
    runner = RowRunner(dialect, options, train, subject.runner.state(), names)
    return replace(subject, runner=Runner(runner, frozenset({"state"})))
