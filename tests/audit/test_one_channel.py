"""The gradient of one channel in its parts, as an audit really measures it."""

from __future__ import annotations

import numpy as np
import pytest

from backnorm import audit, batch_norm, batch_norm_backward
from backnorm.audit.measure.one_channel import one_channel
from backnorm.audit.record import Record
from backnorm.audit.specimens.cut import BothCut, MeanCut, VarianceCut
from backnorm.audit.specimens.plain import Plain

LEFT_OUT = {
    Plain: (),
    MeanCut: ("mean",),
    VarianceCut: ("variance",),
    BothCut: ("mean", "variance"),
}


@pytest.mark.parametrize("specimen", LEFT_OUT)
def test_the_parts_that_a_specimen_passes_make_its_dx(specimen: type) -> None:
    """Which are all but those cut; each part is there all the same, and is large."""
    parts = audit(specimen).parts
    assert parts is not None
    rows = {name: np.array(getattr(parts, name)) for name in ("direct", "mean", "variance")}
    assert all(len(row) == 48 for row in rows.values())
    size = np.abs(rows["direct"]).max()
    whole = sum(row for name, row in rows.items() if name not in LEFT_OUT[specimen])
    assert np.abs(np.array(parts.dx) - whole).max() < 1e-3 * size
    for name in LEFT_OUT[specimen]:
        assert np.abs(rows[name]).max() > 0.1 * size


def test_parts_are_those_of_the_reference() -> None:
    """D, M and V by the engine's own gradients, for the channel with the largest."""
    rng = np.random.default_rng(2)
    x, dy = rng.normal(4, 1.5, (24, 3)), rng.normal(0.8, 1, (24, 3)) * (1, 9, 2)
    fwd = batch_norm(x)
    none, mean, both = (
        batch_norm_backward(dy, fwd, through=name).dx for name in ("none", "mean", "both")
    )
    paths = {"direct": none.T, "mean": (mean - none).T, "variance": (both - mean).T}
    got = one_channel(x.T, both.T, paths)
    for name, want in {"x": x, "dx": both, **{k: v.T for k, v in paths.items()}}.items():
        assert getattr(got, name) == tuple(float(f"{v:.6g}") for v in want[:, 1])


def test_a_long_row_is_thinned_from_end_to_end() -> None:
    """48 of 1000 values, the first and the last among them; a kind without a mean has none."""
    x = np.arange(1000.0)[None]
    got = one_channel(x, x, {"direct": x, "variance": x})
    assert (len(got.x), got.x[0], got.x[-1]) == (48, 0.0, 999.0)
    assert set(got.mean) == {0.0}


def test_a_record_keeps_them() -> None:
    """There and back."""
    record = audit(MeanCut)
    assert Record.from_dict(record.to_dict()) == record
