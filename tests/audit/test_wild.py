"""Layers as people write them get the verdict of their table, whatever the audit is not told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from audit.wild.calls import layer
from audit.wild.table import WILD
from backnorm.audit import audit
from backnorm.audit.record import NOTE_FAMILIES
from backnorm.audit.subjects.registry import subjects_of
from backnorm.audit.subjects.request import AuditRequest

if TYPE_CHECKING:
    from audit.wild.entry import Verdict
    from backnorm.audit.record import Record


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", WILD)
def test_a_layer_in_the_wild_gets_its_verdict(name: str) -> None:
    """Soundness, path and findings in both modes, where the kind and the axes are not given."""
    wild = WILD[name]
    asked = AuditRequest(arguments=wild.arguments, modes="both", name=name)
    records = [audit(subject) for subject in subjects_of(layer(name), asked)]
    assert met(records[0], wild.train)
    assert len(records) == 1 + (wild.evaluation is not None) or wild.evaluation is None
    assert all(met(record, wild.evaluation or wild.train) for record in records[1:])


def met(record: Record, verdict: Verdict) -> bool:
    """Whether a record says what the table says; the message of a failed test shows both."""
    codes = [f.code for f in record.findings if f.code[0] not in NOTE_FAMILIES]
    sound = record.sound if record.audited else None
    if verdict.codes is None:
        named = bool(codes) and {code[0] for code in codes} == {"G"}
    else:
        named = sorted(codes) == sorted(verdict.codes)
    path = verdict.through in (None, record.through)
    assert (sound, path, named) == (verdict.sound, True, True), (record.through, codes, verdict)
    return True
