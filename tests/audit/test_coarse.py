"""Statistics in a coarser dtype than x: rounding is neither a wrong gradient nor a kink."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from audit.pairs import AXES, Relu, column
from backnorm.audit import audit
from backnorm.audit.specimens import parts
from backnorm.audit.specimens.plain import Plain


def rounded(array: Any) -> Any:
    """Round to float32."""
    return array.astype(np.float32).astype(array.dtype)


@dataclass(frozen=True)
class StatisticsInFloat32:
    """Takes float64, and rounds its statistics; `cut` loses the path through the mean."""

    cut: bool = False

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        centred = x - rounded(x.mean(AXES, keepdims=True))
        inv_std = 1 / np.sqrt(rounded(x.var(AXES, keepdims=True)) + 1e-5)
        x_hat = centred * inv_std
        return column(gamma) * x_hat + column(beta), (x_hat, inv_std, column(gamma))

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        x_hat, inv_std, gamma = cache
        d = gamma * inv_std * dy
        along = rounded((d * x_hat).mean(AXES, keepdims=True))
        dx = d - x_hat * along
        if not self.cut:
            dx = dx - rounded(d.mean(AXES, keepdims=True))
        return dx, (dy * x_hat).sum(AXES), dy.sum(AXES)


@dataclass(frozen=True)
class OnePassIn:
    """Takes float64, and computes E[x^2] - E[x]^2 in another dtype."""

    dtype: str

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        x, gamma, beta = (array.astype(self.dtype) for array in (x, gamma, beta))
        mean = x.mean(AXES, keepdims=True)
        var = (x * x).mean(AXES, keepdims=True) - mean * mean
        inv_std = 1 / np.sqrt(np.maximum(var, 0) + np.asarray(1e-5, self.dtype))
        y, cache = parts.normalize(x, gamma, beta, mean, inv_std)
        return y.astype(np.float64), cache

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        return Plain.backward(dy, cache)


@pytest.mark.parametrize("seed", range(3))
def test_rounded_statistics_make_no_wrong_gradient(seed: int) -> None:
    """Where a channel has one value dx is rounding alone; a cut is found all the same."""
    record = audit(StatisticsInFloat32(), seed=seed)
    assert record.sound
    assert not {f.code for f in record.findings if f.code[0] == "I"}
    assert next(f.code for f in audit(StatisticsInFloat32(cut=True), seed=seed).findings) == "G01"


def test_rounding_is_not_called_a_kink() -> None:
    """A smooth layer that rounds has no kinks; a layer with a relu has."""
    for dtype in ("float32", "float64"):
        record = audit(OnePassIn(dtype))
        assert record.sound, dtype
        hidden = [note for note in record.notes if "rounding hides the derivative there" in note]
        assert bool(hidden) == (dtype == "float32")
        assert not any("kink" in note for note in record.notes)
    assert any("kink" in note for note in audit(Relu()).notes)


@dataclass(eq=False)
class Settling:
    """Normalizes with a blend from the first call on: half of the batch's, later a tenth."""

    settles: bool
    calls: int = 0

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        new = 0.1 if self.calls and self.settles else 0.5
        self.calls += 1
        mean = (1 - new) * parts.RUNNING_MEAN + new * parts.mean_of(x)
        var = (1 - new) * parts.RUNNING_VAR + new * x.var(AXES, keepdims=True)
        y, cache = parts.normalize(x, gamma, beta, mean, 1 / np.sqrt(var + parts.EPS))
        return y, (cache, new)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        saved, new = cache
        moved = (saved.x - parts.mean_of(saved.x)) * saved.inv_std
        paths = parts.through_mean(dy, saved) - moved * parts.along(dy, saved)
        return parts.direct(dy, saved) + new * paths, *parts.parameters(dy, saved)


def test_other_shares_of_later_calls_are_said() -> None:
    """The mode stays "other": the shares, 0.5 at first and 0.1 later, are what changes."""
    record = audit(Settling(settles=True))
    assert record.sound
    assert record.notes[1] == (
        "After 30 training calls it normalizes with a blend of statistics, such as a moving "
        "average, of which 0.1 of the mean and 0.1 of the variance is computed from x, and passes "
        "0.1 of the path through the mean and 0.1 of the path through the variance. This is right."
    )
    assert len(audit(Settling(settles=False)).notes) == 1
    assert audit(Plain).notes == ()
