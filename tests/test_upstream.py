"""Timm's own tests, stock and converted: what the comparison says of the outcomes."""

from __future__ import annotations

from typing import Any

import pytest

import upstream

MODELS = ("one", "two")


def outcome(name: str, *, model: str = "one", layers: int = 0) -> dict[str, Any]:
    """Return what the plugin writes of a test."""
    why = "" if name == "passed" else f"Error: {name}"
    return {"model": model, "outcome": name, "layers": layers, "why": why, "text": "the traceback"}


STOCK = {
    "test_forward[one]": outcome("passed"),
    "test_forward[two]": outcome("passed", model="two"),
    "test_torchscript[one]": outcome("passed"),
    "test_weights[one]": outcome("failed"),
}
CONVERTED = {
    "test_forward[one]": outcome("passed", layers=3),
    "test_forward[two]": outcome("passed", model="two", layers=3),
    "test_torchscript[one]": outcome("refused", layers=3),
    "test_weights[one]": outcome("failed"),
}


def test_what_stock_passes_may_only_be_refused_of_torchscript() -> None:
    """A test that stock does not pass says nothing of a conversion."""
    assert upstream.faults(STOCK, CONVERTED, MODELS) == []


@pytest.mark.parametrize(
    ("test", "after", "fault"),
    [
        ("test_forward[one]", "failed", "test_forward[one]: failed if converted\nthe traceback"),
        ("test_forward[one]", "skipped", "test_forward[one]: skipped if converted\nthe traceback"),
        ("test_forward[one]", "refused", "test_forward[one]: refused if converted\nthe traceback"),
        ("test_torchscript[one]", "failed", "test_torchscript[one]: failed if converted"),
    ],
)
def test_what_stock_passes_and_converted_does_not_is_a_fault(
    test: str, after: str, fault: str
) -> None:
    """So is a refusal of another test, and a test of TorchScript that fails in another way."""
    converted = {**CONVERTED, "test_more[one]": outcome("passed"), test: outcome(after, layers=3)}
    assert upstream.faults(STOCK, converted, MODELS)[0].startswith(fault)


def test_a_run_without_conversion_is_a_fault() -> None:
    """It would compare stock with stock."""
    found = upstream.faults(STOCK, STOCK, MODELS)
    assert found[0] == "test_forward[one]: no layer was converted"


def test_a_model_that_passes_nothing_is_a_fault() -> None:
    """A name that timm does not know selects no test."""
    assert upstream.faults(STOCK, CONVERTED, ("one", "gone")) == ["gone: no test passed"]


def test_the_table_counts_by_function() -> None:
    """And below it stands why stock does not pass."""
    assert upstream.table(STOCK, CONVERTED).splitlines()[2:] == [
        "| test_forward | 2 | 2 | 0 | 0 |",
        "| test_torchscript | 1 | 0 | 1 | 0 |",
        "| test_weights | 0 | 0 | 0 | 1 |",
        "| all | 3 | 2 | 1 | 1 |",
    ]
    assert upstream.reasons(STOCK) == "stock does not pass, 1 times: Error: failed\n"


def test_a_call_without_a_checkout_says_what_is_missing() -> None:
    """The text names the argument."""
    with pytest.raises(SystemExit, match=r"SOURCE is a checkout of timm's repository"):
        upstream.main([])
