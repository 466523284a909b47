"""The record is the T of the JSON schema, and survives the way through a pipe."""

from __future__ import annotations

import json

import pytest

from backnorm.audit import audit
from backnorm.audit.record import ChannelParts, PrecisionPoint, ProbeResult, Record
from backnorm.audit.specimens import specimen_subjects

SUBJECTS = {subject.name: subject for subject in specimen_subjects()}


@pytest.mark.parametrize("name", ["plain", "mean cut", "rms"])
def test_a_record_survives_json(name: str) -> None:
    """From a record to JSON and back nothing is lost."""
    record = audit(SUBJECTS[name])
    assert Record.from_dict(json.loads(json.dumps(record.to_dict(), allow_nan=False))) == record


def test_what_came_later_survives_json() -> None:
    """State, probes, precision and parts come through, with None where nothing is finite."""
    ramp = (0.0, 0.5, 1.0)
    record = Record(
        "f",
        "batch",
        state="keep 0.9, unbiased, as torch",
        probes=(ProbeResult("P01", "gradient", "pass", "error 1e-9", 0.25),),
        precision=(PrecisionPoint("offset", 1e6, "float32", 0.5, None, 0.25, 0.125),),
        parts=ChannelParts(ramp, ramp, ramp, ramp, ramp),
    )
    plain = json.loads(json.dumps(record.to_dict(), allow_nan=False))
    assert plain["precision"][0]["dx"] is None
    assert plain["parts"]["variance"] == [0.0, 0.5, 1.0]
    assert Record.from_dict(plain) == record


def test_a_record_from_before_they_came_is_read() -> None:
    """Without the keys that came later a record has their defaults."""
    plain = Record("f", "batch").to_dict()
    for name in ("state", "probes", "precision", "parts", "forward_only"):
        del plain[name]
    assert Record.from_dict(plain) == Record("f", "batch")


def test_the_keys_are_those_of_schema_2() -> None:
    """All keys of the schema are there, and the extra ones are known."""
    plain = audit(SUBJECTS["mean cut"]).to_dict()
    schema = {
        "target",
        "kind",
        "mode",
        "through",
        "coefficients",
        "residual",
        "sound",
        "not_judged",
        "findings",
        "errors",
    }
    later = {"audited", "law", "notes", "expected", "state", "probes", "precision", "parts"}
    assert set(plain) == schema | later | {"forward_only"}
    assert set(plain["coefficients"]) == {"direct", "mean", "variance"}
    assert set(plain["errors"]) == {"y", "dx", "dgamma", "dbeta"}
    finding = {"code", "what", "expected", "got", "causes", "remedy", "ignored"}
    assert [set(one) for one in plain["findings"]] == [finding]


def test_a_specimen_with_another_verdict_says_so() -> None:
    """`as_expected` compares all three parts of the verdict, and fails what was not audited."""
    record = audit(SUBJECTS["plain"])
    assert record.as_expected() is True
    plain = record.to_dict()
    for changed in ({"mode": "other"}, {"through": "mean"}, {"sound": False}, {"audited": False}):
        assert Record.from_dict({**plain, **changed}).as_expected() is False
    assert Record.from_dict({**plain, "expected": None}).as_expected() is None
