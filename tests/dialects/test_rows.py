"""The table itself: complete, with evidence, and the only place that tells dialects apart."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from backnorm.dialects import DIALECTS, UNKNOWN, Fact, Row, row_of
from backnorm.dialects.columns import ABOUT
from backnorm.dialects.settings import options_of

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "backnorm"
REGISTRY = PACKAGE / "dialects" / "registry.py"
CODE = {*PACKAGE.glob("dialects/*.py"), *PACKAGE.glob("convert/*.py")} - {REGISTRY}
"""What computes with rows, for every dialect alike."""


def facts(row: Row) -> dict[str, Fact[object]]:
    """All facts of a row, by the name of their column."""
    values = {field.name: getattr(row, field.name) for field in fields(row)}
    return {name: value for name, value in values.items() if isinstance(value, Fact)}


@pytest.mark.parametrize("name", DIALECTS)
def test_every_fact_has_its_evidence(name: str) -> None:
    """No column is empty, and a test or golden that is named exists."""
    row = row_of(name)
    assert row.name == name
    assert row.traps
    assert list(facts(row)) == list(ABOUT)
    for column, fact in facts(row).items():
        assert fact.evidence.strip(), column
        for path in re.findall(r"tests/[\w/.-]+", fact.evidence):
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("name", DIALECTS)
def test_a_state_has_each_array_once(name: str) -> None:
    """Names are unique, and mean, var, gamma and beta are among the roles."""
    arrays = row_of(name).arrays.known
    assert len({array.name for array in arrays}) == len(arrays)
    assert {"mean", "var", "gamma", "beta"} <= {array.role for array in arrays}


def test_what_is_not_known_is_said_to_be_unknown() -> None:
    """As these, and what needs them refuses (test_layer.py) or starts from NaN."""
    unknown = {
        f"{name}.{column}"
        for name in DIALECTS
        for column, fact in facts(row_of(name)).items()
        if fact.value is UNKNOWN
    }
    assert "equinox-ema.initial" in unknown


@pytest.mark.parametrize("name", DIALECTS)
def test_each_option_belongs_to_one_column(name: str) -> None:
    """Momentum and eps can always be said, and no two columns share an option by accident."""
    row = row_of(name)
    known = options_of(row)
    assert {row.momentum.known.name, row.eps.known.name} <= set(known)
    affine = {option.name for option in (*row.gamma_options.known, *row.beta_options.known)}
    others = {row.momentum.known.name, row.eps.known.name, row.axis.known.name}
    assert not affine & others


def test_the_code_knows_no_dialect() -> None:
    """A dialect is a row: no line outside the rows and the registry names one."""
    assert {path.parent.name for path in CODE} == {"dialects", "convert"}
    for module in CODE:
        tree = ast.parse(module.read_text())
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        strings = {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and id(node) not in docs
        }
        assert not strings & set(DIALECTS), module


def test_a_dialect_is_one_file() -> None:
    """Each file in rows/ is a row, and each row is a file there."""
    stems = {path.stem for path in PACKAGE.glob("dialects/rows/*.py")} - {"__init__"}
    assert stems == {name.replace("-", "_") for name in DIALECTS}
