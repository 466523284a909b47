"""The command backnorm explain, and what the columns of the audit mean."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from backnorm.audit.findings import CATALOG
from backnorm.audit.probes import PROBES
from backnorm.cli import main
from backnorm.report.columns import MEANINGS
from backnorm.report.to_text import SHOWN


def out(*arguments: str) -> str:
    """Run a command that must succeed."""
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize("code", CATALOG)
def test_a_finding_is_explained(code: str) -> None:
    """All that its entry says, in lines that fit."""
    text, entry = out("explain", code.lower()), CATALOG[code]
    words = " ".join(text.split())
    assert words.startswith(f"{code} {' '.join(entry.what.split())}")
    for part in (entry.expected, entry.remedy, *entry.causes):
        assert " ".join(part.split()) in words
    assert max(map(len, text.splitlines())) <= 92
    assert "](" not in text


def test_a_probe_is_explained() -> None:
    """-v shows the codes of probes too."""
    assert out("explain", "P01").startswith("P01  Probe gradient: Compare dx")
    assert out("explain", PROBES[0].code, "G01").count("\n\n") == 3


def test_without_a_code_every_finding_is_listed() -> None:
    """Each begins a line."""
    lines = out("explain").splitlines()
    assert {line.split()[0] for line in lines if line} >= set(CATALOG)


def test_columns_are_explained() -> None:
    """In place of an audit, whatever else is asked for."""
    text = out("audit", "no.such.target", "--explain")
    assert [line.split()[0] for line in text.splitlines() if line[0] != " "] == [
        {"variance": "var"}.get(name, name) for name in MEANINGS
    ]


def test_the_choices_of_only_are_those_of_the_table() -> None:
    """The command lists them without loading the report."""
    (only,) = (option for option in main.commands["audit"].params if option.name == "only")
    assert isinstance(only.type, click.Choice)
    assert tuple(only.type.choices) == tuple(SHOWN)
