"""What the usual tests leave out is of a kind with what they run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sampling import Sample

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["pytester"]

TESTS = Path(__file__).parent

MARKED = """
import pytest

@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", range(7))
def test_some(case):
    pass

@pytest.mark.thorough
def test_none():
    pass

@pytest.mark.parametrize("case", range(2))
def test_all(case):
    pass
"""


def test_every_nth_case_runs(pytester: pytest.Pytester) -> None:
    """The first of them always; what is not marked as a whole."""
    pytester.makeini("[pytest]\nmarkers =\n    sampled(n): x\n    thorough: x\n")
    items = pytester.getitems(MARKED)
    sample = Sample()
    assert [item.name for item in items if sample.takes(item)] == [
        "test_some[0]",
        "test_some[3]",
        "test_some[6]",
        "test_all[0]",
        "test_all[1]",
    ]


def test_of_every_test_some_cases_may_run(pytester: pytest.Pytester) -> None:
    """As under the sanitizers, where all take ten times as long."""
    pytester.makeini("[pytest]\nmarkers =\n    sampled(n): x\n    thorough: x\n")
    sample = Sample(every=2)
    names = [item.name for item in pytester.getitems(MARKED) if sample.takes(item)]
    assert names == ["test_some[0]", "test_some[3]", "test_some[6]", "test_all[0]"]


def test_a_file_with_a_thorough_test_has_others() -> None:
    """What it tests is looked at in every run, though not in full."""
    for file in TESTS.rglob("test_*.py"):
        text = file.read_text()
        tests = len(re.findall(r"^def test_", text, re.MULTILINE))
        assert text.count("@pytest.mark.thorough\n") < tests
