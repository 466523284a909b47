"""The record is the T of the JSON schema, and survives the way through a pipe."""

from __future__ import annotations

import json

import pytest

from backnorm.audit import audit
from backnorm.audit.record import Parts, PrecisionPoint, Probe, Record
from backnorm.audit.specimens import specimen_subjects

SUBJECTS = {subject.name: subject for subject in specimen_subjects()}


@pytest.mark.parametrize("name", ["plain", "mean cut", "rms"])
def test_a_record_survives_json(name: str) -> None:
    """From a record to JSON and back nothing is lost."""
    record = audit(SUBJECTS[name])
    assert Record.from_dict(json.loads(json.dumps(record.to_dict(), allow_nan=False))) == record


def test_probes_precision_and_parts_survive_json() -> None:
    """Also a number that could not be had, which is null."""
    record = Record(
        "a",
        "batch",
        state="keeps 0.9",
        probes=(Probe("G01", "paths", "pass", "1, 1, 1", 0.25),),
        precision=(PrecisionPoint("offset", 1e3, "float32", 1e-4, None, 1e-7, 2e-7),),
        parts=Parts((1.0, 2.0), (0.5, -0.5), (1.0, 0.0), (-0.5, -0.5), (0.0, 0.0)),
    )
    assert Record.from_dict(json.loads(json.dumps(record.to_dict(), allow_nan=False))) == record


def test_the_keys_are_those_of_schema_1() -> None:
    """All keys of the schema are there, and the extra ones are known."""
    plain = audit(SUBJECTS["mean cut"]).to_dict()
    schema = {
        "target",
        "kind",
        "mode",
        "through",
        "coefficients",
        "unexplained",
        "sound",
        "findings",
        "errors",
    }
    later = {"state", "probes", "precision", "parts"}
    assert set(plain) == schema | {"audited", "law", "notes", "expected"} | later
    assert set(plain["coefficients"]) == {"direct", "mean", "variance"}
    assert set(plain["errors"]) == {"y", "dx", "dgamma", "dbeta"}
    finding = {"code", "what", "expected", "got", "causes", "remedy"}
    assert [set(one) for one in plain["findings"]] == [finding]


def test_a_specimen_with_another_verdict_says_so() -> None:
    """`as_expected` compares all three parts of the verdict, and fails what was not audited."""
    record = audit(SUBJECTS["plain"])
    assert record.as_expected() is True
    plain = record.to_dict()
    for changed in ({"mode": "other"}, {"through": "mean"}, {"sound": False}, {"audited": False}):
        assert Record.from_dict({**plain, **changed}).as_expected() is False
    assert Record.from_dict({**plain, "expected": None}).as_expected() is None
