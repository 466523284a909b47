"""Documents for CI systems, held against the schemas of their formats."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import xmlschema

from backnorm.audit.findings import CATALOG, finding
from backnorm.report import to_gitlab, to_junit, to_sarif
from report.records import CUT, HOSTILE, LOST, OPEN, RMS, SOUND, WARNED

SCHEMAS = Path(__file__).with_name("schemas")
IGNORED = replace(CUT, findings=tuple(replace(f, ignored="for a reason") for f in CUT.findings))
ALL = replace(CUT, findings=tuple(finding(code, "a number") for code in CATALOG))
RECORDS = [SOUND, RMS, CUT, IGNORED, LOST, OPEN, WARNED, HOSTILE, ALL]


def json_checker(name: str, validator: type[Any]) -> Any:
    """What holds a document against a schema."""
    schema = json.loads((SCHEMAS / name).read_text("utf-8"))
    validator.check_schema(schema)
    return validator(schema)


@pytest.mark.parametrize("records", [RECORDS, [SOUND], []], ids=len)
def test_sarif_follows_its_schema(records: list[Any]) -> None:
    """Every finding there is, words of every kind, and no finding at all."""
    checker = json_checker("sarif-2.1.0.json", jsonschema.Draft4Validator)
    checker.validate(json.loads(to_sarif(records)))


@pytest.mark.parametrize("records", [RECORDS, [SOUND], []], ids=len)
def test_gitlab_follows_its_schema(records: list[Any]) -> None:
    """The same records."""
    checker = json_checker("gitlab-code-quality.json", jsonschema.Draft202012Validator)
    checker.validate(json.loads(to_gitlab(records)))


@pytest.mark.parametrize("records", [RECORDS, [SOUND], []], ids=len)
def test_junit_follows_its_schema(records: list[Any]) -> None:
    """The same records."""
    xmlschema.XMLSchema(SCHEMAS / "junit-10.xsd").validate(to_junit(records))


def test_the_schemas_refuse_other_documents() -> None:
    """They can tell."""
    sarif = json_checker("sarif-2.1.0.json", jsonschema.Draft4Validator)
    gitlab = json_checker("gitlab-code-quality.json", jsonschema.Draft202012Validator)
    document = json.loads(to_sarif([CUT]))
    document["runs"][0]["results"][0]["level"] = "bad"
    assert not sarif.is_valid(document)
    assert not gitlab.is_valid([{**json.loads(to_gitlab([CUT]))[0], "severity": "high"}])
    junit = xmlschema.XMLSchema(SCHEMAS / "junit-10.xsd")
    assert not junit.is_valid(to_junit([CUT]).replace("testcase", "case"))
