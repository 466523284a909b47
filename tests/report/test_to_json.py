"""The JSON document of schema 2."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import jsonschema
import numpy as np
import pytest

import backnorm
from backnorm.audit import audit
from backnorm.audit.record import Coefficients, Expected, Record
from backnorm.audit.subjects.engine import ENGINE
from backnorm.report import SCHEMA, environment, json_schema, to_json
from report.records import CUT, LOST, OPEN, RMS, SOUND, WARNED

RECORD = Record("a", "batch", "batch", "both", Coefficients(1.0, 1.0, 1.0), 1e-7, sound=True)
EXPECTED = Expected("batch", "both", sound=True)


def test_the_document_is_of_schema_2() -> None:
    """schema, backnorm, environment and targets, and nothing else."""
    document = json.loads(to_json([RECORD, RECORD]))
    assert set(document) == {"schema", "backnorm", "environment", "targets"}
    assert document["schema"] == SCHEMA == 2
    assert document["backnorm"] == backnorm.__version__
    assert document["environment"]["numpy"] == np.__version__
    assert [Record.from_dict(target) for target in document["targets"]] == [RECORD, RECORD]


def test_nan_is_refused() -> None:
    """NaN is no JSON: a number that cannot be had is null."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json([Record("a", "batch", residual=math.nan)])


def test_the_environment_has_versions_and_no_names() -> None:
    """Python, platform and packages; nothing that tells whose machine it was."""
    known = environment()
    assert {"python", "platform", "numpy"} <= set(known) <= {"python", "platform", "numpy", "torch"}


def checker() -> jsonschema.Draft202012Validator:
    """What holds a document against the schema of the package."""
    jsonschema.Draft202012Validator.check_schema(json_schema())
    return jsonschema.Draft202012Validator(json_schema())


def test_documents_follow_the_schema_of_the_package() -> None:
    """Records made by hand with every field, and those of real audits."""
    made = [SOUND, CUT, LOST, OPEN, RMS, WARNED, RECORD]
    for records in (made, [audit(pair) for pair in ENGINE.values()]):
        checker().validate(json.loads(to_json(records)))


def names(schema: dict[str, Any], at: dict[str, Any]) -> set[str]:
    """Return the names that a schema lists, all the way down."""
    found = set(at.get("properties", {}))
    items = [at["items"]] if "items" in at else []
    inside = [*at.get("properties", {}).values(), *at.get("oneOf", []), *items]
    if "$ref" in at:
        inside.append(schema["$defs"][at["$ref"].rpartition("/")[2]])
    return found.union(*(names(schema, one) for one in inside))


def keys(value: object) -> set[str]:
    """Return the names in a document, all the way down."""
    if isinstance(value, list):
        return set().union(*map(keys, value))
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set()


def test_the_schema_lists_every_name_and_no_other() -> None:
    """It allows unknown names, so that it has to be seen that there are none."""
    document = json.loads(to_json([SOUND, CUT, replace(RMS, expected=EXPECTED)]))
    versions = set(document.pop("environment"))
    assert keys(document) | {"environment"} == names(json_schema(), json_schema()) - versions


BROKEN = {
    "no schema": lambda d: d.pop("schema"),
    "another schema": lambda d: d.update(schema=1),
    "no targets": lambda d: d.pop("targets"),
    "a kind that there is not": lambda d: d["targets"][0].update(kind="bach"),
    "a path that there is not": lambda d: d["targets"][0].update(through="some"),
    "a verdict in words": lambda d: d["targets"][0].update(sound="yes"),
    "text for a number": lambda d: d["targets"][0]["coefficients"].update(mean="1"),
    "a coefficient less": lambda d: d["targets"][0]["coefficients"].pop("mean"),
    "a code of another form": lambda d: d["targets"][1]["findings"][0].update(code="x"),
    "a result that there is not": lambda d: d["targets"][0]["probes"][0].update(result="so so"),
    "a sweep that there is not": lambda d: d["targets"][0]["precision"][0].update(sweep="x"),
    "a part less": lambda d: d["targets"][0]["parts"].pop("variance"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_schema_refuses_what_is_none(name: str) -> None:
    """It can tell a document from what only looks like one."""
    document = json.loads(to_json([SOUND, CUT]))
    BROKEN[name](document)
    assert not checker().is_valid(document)
