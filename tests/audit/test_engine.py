"""The engine passes its own audit."""

from __future__ import annotations

import pytest

from backnorm.audit import audit
from backnorm.audit.subjects.engine import engine_subjects

VERDICTS = {"train": ("batch", "both"), "eval": ("frozen", "none")}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("call", VERDICTS)
def test_the_engine_is_sound(call: str, seed: int) -> None:
    """In training through both statistics, over constants through none."""
    (subject,) = engine_subjects(call)  # type: ignore[arg-type]
    record = audit(subject, seed=seed)
    assert (record.mode, record.through) == VERDICTS[call]
    assert record.sound
    assert record.findings == ()


def test_both_are_the_default() -> None:
    """Without a choice there are two subjects."""
    assert [s.name for s in engine_subjects()] == [
        "backnorm.batch_norm",
        "backnorm.batch_norm (frozen)",
    ]
