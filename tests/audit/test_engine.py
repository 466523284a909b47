"""The engine passes its own audit."""

from __future__ import annotations

import pytest

from backnorm.audit import audit
from backnorm.audit.subjects.engine import ENGINE
from backnorm.audit.subjects.registry import as_subject

VERDICTS = {
    # name: mode, path, what it is asked for
    "backnorm.batch_norm": ("batch", "both", "train"),
    "backnorm.batch_norm (frozen)": ("frozen", "none", "eval"),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", VERDICTS)
def test_the_engine_is_sound(name: str, seed: int) -> None:
    """In training through both statistics, over constants through none."""
    subject = as_subject(ENGINE[name], name=name)
    record = audit(subject, seed=seed)
    assert (record.mode, record.through, subject.call) == VERDICTS[name]
    assert record.sound
    assert record.findings == ()


def test_all_pairs_of_the_engine_are_judged() -> None:
    """Those above are all that the command audits."""
    assert list(ENGINE) == list(VERDICTS)
