"""Every specimen gets its verdict, and its fault is called by its name."""

from __future__ import annotations

import pytest

from backnorm.audit import audit
from backnorm.audit.record import Expected
from backnorm.audit.specimens import SPECIMENS, specimen_subjects
from backnorm.audit.thresholds import COEFFICIENT_LIMIT, REST_LIMIT

BY_NAME = {subject.name: subject for subject in specimen_subjects()}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", BY_NAME)
def test_a_specimen_gets_its_verdict(name: str, seed: int) -> None:
    """Mode, path, soundness and findings are those in the table."""
    record = audit(BY_NAME[name], seed=seed)
    found = Expected(
        record.mode, record.through, record.sound, tuple(f.code for f in record.findings)
    )
    assert found == record.expected
    assert record.as_expected() is True


def test_the_gallery_is_mixed() -> None:
    """There are 30 specimens at least, sound and unsound, of all kinds and modes."""
    verdicts = [expected for _, expected in SPECIMENS.values()]
    assert len(SPECIMENS) >= 30
    assert sum(v.sound for v in verdicts) >= 12
    assert sum(not v.sound for v in verdicts) >= 20
    assert all(v.sound or v.codes for v in verdicts)
    assert {v.mode for v in verdicts} == {"batch", "frozen", "other"}
    assert {subject.kind for subject in BY_NAME.values()} == {
        "batch",
        "layer",
        "group",
        "instance",
        "rms",
    }


@pytest.mark.parametrize("name", [n for n, (_, v) in SPECIMENS.items() if v.sound])
def test_a_sound_specimen_is_far_from_every_limit(name: str) -> None:
    """A right gradient is no close call: ten times within the limits."""
    record = audit(BY_NAME[name])
    assert record.unexplained is not None
    assert record.unexplained < REST_LIMIT / 10
    assert record.errors.dx is not None
    assert record.errors.dx < 1e-7
    if record.mode == "batch":
        shares = record.coefficients
        known = [s for s in (shares.direct, shares.mean, shares.variance) if s is not None]
        assert max(abs(share - 1) for share in known) < COEFFICIENT_LIMIT / 10
