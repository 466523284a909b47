"""The JSON document of schema 1."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import backnorm
from backnorm.audit.record import Coefficients, Record
from backnorm.report import SCHEMA, environment, to_json

RECORD = Record("a", "batch", "batch", "both", Coefficients(1.0, 1.0, 1.0), 1e-7, sound=True)


def test_the_document_is_of_schema_1() -> None:
    """schema, backnorm, environment and targets, and nothing else."""
    document = json.loads(to_json([RECORD, RECORD]))
    assert set(document) == {"schema", "backnorm", "environment", "targets"}
    assert document["schema"] == SCHEMA == 1
    assert document["backnorm"] == backnorm.__version__
    assert document["environment"]["numpy"] == np.__version__
    assert [Record.from_dict(target) for target in document["targets"]] == [RECORD, RECORD]


def test_nan_is_refused() -> None:
    """NaN is no JSON: a number that cannot be had is null."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json([Record("a", "batch", unexplained=math.nan)])


def test_the_environment_has_versions_and_no_names() -> None:
    """Python, platform and packages; nothing that tells whose machine it was."""
    known = environment()
    assert {"python", "platform", "numpy"} <= set(known) <= {"python", "platform", "numpy", "torch"}
