"""Every specimen gets its verdict, and its fault is called by its name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backnorm.audit import audit
from backnorm.audit.record import Expected
from backnorm.audit.specimens import SPECIMENS, specimen_subjects
from backnorm.audit.thresholds import COEFFICIENT_LIMIT, RESIDUAL_LIMIT

BY_NAME = {subject.name: subject for subject in specimen_subjects()}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", BY_NAME)
def test_a_specimen_gets_its_verdict(name: str, seed: int) -> None:
    """Mode, path, soundness and findings are those in the table."""
    record = audit(BY_NAME[name], seed=seed)
    codes = tuple(finding.code for finding in record.findings)
    found = Expected(record.mode, record.through, record.sound, codes)
    assert record.expected is not None
    assert found == replace(record.expected, later=False)
    assert record.as_expected() is True


def test_a_quick_audit_misses_none_that_it_looks_at() -> None:
    """A verdict on a later call is neither met nor missed; the others are all met."""
    met = {name: audit(subject, quick=True).as_expected() for name, subject in BY_NAME.items()}
    later = {name for name, (_, verdict) in SPECIMENS.items() if verdict.later}
    assert {name for name, answer in met.items() if answer is None} == later
    assert len(later) == 2
    assert all(answer is not False for answer in met.values())


def test_the_gallery_is_mixed() -> None:
    """There are 30 specimens at least, sound and unsound, of all kinds and modes."""
    verdicts = [expected for _, expected in SPECIMENS.values()]
    assert len(SPECIMENS) >= 30
    assert sum(v.sound is True for v in verdicts) >= 12
    assert sum(v.sound is False for v in verdicts) >= 20
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
    assert record.residual is not None
    assert record.residual < RESIDUAL_LIMIT / 10
    assert record.errors.dx is not None
    assert record.errors.dx < 1e-7
    if record.mode == "batch":
        shares = record.coefficients
        known = [s for s in (shares.direct, shares.mean, shares.variance) if s is not None]
        assert max(abs(share - 1) for share in known) < COEFFICIENT_LIMIT / 10
