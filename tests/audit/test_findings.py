"""The catalog of findings, and the findings of what cannot be audited."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest

from backnorm.audit import thresholds
from backnorm.audit.findings import CATALOG, FAMILIES, FAULTS, fault, finding
from backnorm.audit.probes import PROBES
from backnorm.errors import NotInstalledError, SubjectError
from backnorm.report.findings import to_findings, to_method_tables

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_has_a_section_for_each_finding() -> None:
    """Each code stands there once, in one family, with its causes and its remedy."""
    page = to_findings().replace("\\", "")
    assert re.findall(r"^### ([A-Z]\d\d)$", page, re.MULTILINE) == list(CATALOG)
    assert len(CATALOG) == sum(len(family.entries) for family in FAMILIES)
    for entry in CATALOG.values():
        assert all(text in page for text in (entry.what, *entry.causes, entry.remedy))


def test_every_number_that_decides_has_its_reason() -> None:
    """All of them, and every probe, stand in the tables, with a reason."""
    rows = re.findall(r"^\| `?(\w+).*? \| .* \| (.*) \|$", to_method_tables(), re.MULTILINE)
    numbers = {name for name in thresholds.__all__ if name.isupper()}
    assert {name for name, _ in rows} >= {*numbers, "P01", *(probe.code for probe in PROBES)}
    assert all(reason for _, reason in rows)


def test_a_copy_of_a_threshold_keeps_its_reason() -> None:
    """It is a float with one more attribute, which a copy must not lose."""
    limit = thresholds.RESIDUAL_LIMIT
    copied = copy.deepcopy(limit)
    assert (copied, copied.why) == (limit, limit.why)


@pytest.mark.parametrize("code", CATALOG)
def test_a_finding_says_everything(code: str) -> None:
    """What, expected, causes and remedy."""
    entry = CATALOG[code]
    assert entry.causes
    assert all((entry.what, entry.expected, entry.remedy))
    assert finding(code, "x").got == "x"


FAULTY = {
    "raised": (SubjectError.raised("f", ValueError("no\n  way.")), "G20"),
    "hung": (SubjectError.hung("f", 60.0), "G21"),
    "returned_none": (SubjectError.returned_none("f", "dx"), "G22"),
    "wrong_shape": (SubjectError.wrong_shape("f", "y", (2, 3), (3, 2)), "G23"),
    "no_array": (SubjectError.no_array("f", "y", "text"), "G23"),
    "no_tuple": (SubjectError.no_tuple("f", "(y, cache)", "a tuple of 3", "tuple"), "G23"),
    "not_finite": (SubjectError.not_finite("f", "y", 3), "G24"),
    "died": (SubjectError.died("f", "signal SIGSEGV", "bad\nthings"), "G25"),
    "garbled": (SubjectError.garbled("f"), "G25"),
    "no_x": (SubjectError.no_x("f"), "G26"),
    "half_a_pair": (SubjectError.half_a_pair("f", "forward"), "G26"),
    "unknown_object": (SubjectError.unknown_object("f", "int"), "G26"),
    "not_importable": (SubjectError.not_importable("f", "no module f", ["g", "h"]), "G27"),
    "not_installed": (SubjectError.not_installed("f", NotInstalledError.framework("f")), "G27"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_becomes_the_finding_of_its_code(name: str) -> None:
    """What, expected, got and remedy are those of the error; its text is in test_errors.py."""
    error, code = FAULTY[name]
    made = fault(error)
    assert made.code == code
    assert code in FAULTS
    assert f"{made.what} {made.remedy}" == str(error)
    assert (made.expected, made.got) == (error.requirement, error.got)
    assert made.causes == (error.causes or CATALOG[code].causes)


CAUSES = {
    # name: what, got, wanted, words of the first cause
    "summed too far": ("dgamma", (), (3,), "it is summed over all axes"),
    "summed too little": ("dgamma", (5, 3), (3,), "it is not summed over all axes"),
    "kept axes": ("dbeta", (1, 3, 1, 1), (3,), "it has axes of length 1 too many or too few"),
    "other axes": ("dgamma", (2,), (3,), "it is summed over other axes"),
    "axes in another order": ("dx", (5, 2, 3), (5, 3, 2), "its axes are in another order"),
    "an axis of y is gone": ("y", (5, 3), (5, 3, 2), "an axis is summed or indexed away"),
    "y is sliced": ("y", (5, 2), (5, 3), "it is sliced, or broadcast"),
    "another number of samples": ("y", (4, 3), (5, 3), "its number of samples is fixed"),
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_causes_of_a_wrong_shape_fit_the_shapes(name: str) -> None:
    """What was returned beside what was expected says which mistake is likely."""
    what, got, want, words = CAUSES[name]
    assert fault(SubjectError.wrong_shape("f", what, got, want)).causes[0].startswith(words)


PAIRS = {
    "dx alone": ("(dx, dgamma, dbeta)", "array", "backward returns one array alone"),
    "two values": ("(y, cache)", "tuple", "the return statement of forward has too few or too "),
    "a number": ("(dx, dgamma, dbeta)", "other", "backward returns something else"),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_causes_of_a_wrong_return_name_the_function(name: str) -> None:
    """Of a pair the function that returned it, and how it goes wrong."""
    what, sort, words = PAIRS[name]
    (cause,) = fault(SubjectError.no_tuple("f", what, "it", sort)).causes
    assert cause.startswith(words)


def test_long_foreign_messages_are_cut() -> None:
    """Of a long message the end is kept, where the reason stands."""
    error = SubjectError.raised("f", ValueError("x" * 1000 + " the reason"))
    assert len(error.got) < 350
    assert error.got.endswith("the reason")
