"""The catalog of findings, and the messages of what cannot be audited, in full."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest

from backnorm.audit import thresholds
from backnorm.audit.findings import CATALOG, FAMILIES, FAULTS, fault, finding
from backnorm.audit.probes import PROBES
from backnorm.errors import SubjectError
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


MESSAGES = {
    "raised": (
        SubjectError.raised("f", ValueError("no\n  way.")),
        "G20",
        (
            "f must run without an error, got ValueError: no way. It was given x, gamma, beta"
            " and dy of the shapes it asks for. Run it on an input of its own first; if it "
            "needs other arguments, pass --args."
        ),
    ),
    "hung": (
        SubjectError.hung("f", 60.0),
        "G21",
        (
            "f must be done within 60 s, got no answer. The others have to be audited too. "
            "Look for a loop without an end, or a lock that is never given back."
        ),
    ),
    "returned_none": (
        SubjectError.returned_none("f", "dx"),
        "G22",
        (
            "f must give dx, got None. There is nothing to judge without dx. Return it; if y "
            "is detached from x, let the graph reach x."
        ),
    ),
    "wrong_shape": (
        SubjectError.wrong_shape("f", "y", (2, 3), (3, 2)),
        "G23",
        (
            "f must give y of shape (3, 2), got (2, 3). Each array has the shape of what it "
            "belongs to. Check the axes of its sums; if it is of another kind, pass --kind."
        ),
    ),
    "no_array": (
        SubjectError.no_array("f", "y", "text"),
        "G23",
        (
            "f must give y as an array, got str. Values are compared element by element. "
            "Return y as a numpy.ndarray."
        ),
    ),
    "no_tuple": (
        SubjectError.no_tuple("f", "(y, cache)", (1, 2, 3)),
        "G23",
        (
            "f must return (y, cache), got tuple of 3. A pair has forward(x, gamma, beta) and"
            " backward(dy, cache). See docs/audit.md for a pair in ten lines."
        ),
    ),
    "not_finite": (
        SubjectError.not_finite("f", "y", 3),
        "G24",
        (
            "f must give a finite y, got 3 values that are NaN or infinite. Its input was "
            "finite and its variance was not 0. Look for uninitialized memory, and for a root"
            " of something negative."
        ),
    ),
    "died": (
        SubjectError.died("f", "signal SIGSEGV", "bad\nthings"),
        "G25",
        (
            "f must leave its process alive, got signal SIGSEGV, last words: bad things. It "
            "runs in a process of its own, so that the others are audited all the same. Run "
            "it alone under python -X faulthandler."
        ),
    ),
    "cannot_build": (
        SubjectError.cannot_build("f", "[4]", TypeError("too few")),
        "G26",
        (
            "f must accept the arguments [4], got TypeError: too few. A class is constructed "
            'before it is audited. Pass its arguments, for example --args \'{"num_features": '
            "4}' or --args '[4]'."
        ),
    ),
    "unknown_object": (
        SubjectError.unknown_object("f", 3),
        "G26",
        (
            "f must be a pair of forward and backward, or a layer or function of a known "
            "framework, got int. Only those can be given an x and asked for a gradient. See "
            "docs/audit.md for a pair in ten lines."
        ),
    ),
    "not_importable": (
        SubjectError.not_importable("f", "no module f", ["g", "h"]),
        "G27",
        (
            "f must be importable, got no module f. A target is package.module:Name, "
            "package.module.Name, path/file.py:Name, or a framework. Did you mean g or h?"
        ),
    ),
    "not_importable, nothing near": (
        SubjectError.not_importable("f", "no module f", []),
        "G27",
        (
            "f must be importable, got no module f. A target is package.module:Name, "
            "package.module.Name, path/file.py:Name, or a framework. Check its spelling."
        ),
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_fault_has_its_message_and_its_code(name: str) -> None:
    """Each stands here in full, and becomes the finding of its code."""
    error, code, message = MESSAGES[name]
    assert str(error) == message
    made = fault(error)
    assert made.code == code
    assert code in FAULTS
    assert made.remedy == error.advice
    assert made.got == error.got


def test_long_foreign_messages_are_cut() -> None:
    """Of a long message the end is kept, where the reason stands."""
    error = SubjectError.raised("f", ValueError("x" * 1000 + " the reason"))
    assert len(error.got) < 350
    assert error.got.endswith("the reason")
