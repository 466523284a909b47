"""Timm's own tests, stock and converted: what the comparison says of the outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import upstream
from _upstreams import UPSTREAMS, upstream_of

if TYPE_CHECKING:
    from pathlib import Path

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
    """The text names the argument; so it does for a folder that is another one."""
    for arguments in ([], ["needs"], ["."], ["other", "."]):
        with pytest.raises(SystemExit, match=r"SOURCE is a checkout of the repository of timm"):
            upstream.main(arguments)


def test_a_checkout_is_recognized_by_its_tests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And make is told the environment that they need."""
    for one in UPSTREAMS:
        for file in one.files:
            path = tmp_path / one.name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        assert upstream_of(tmp_path / one.name) is one
    upstream.main(["needs", str(tmp_path / "haiku")])
    stamps = ".venv-frameworks/.with-test .venv-frameworks/.with-frameworks"
    assert capsys.readouterr().out == f"{stamps} VENV=.venv-frameworks HEADERS=jaxlib\n"


def test_complex_numbers_may_be_refused_of_jax() -> None:
    """And nothing else."""
    stock = {"test_complex": outcome("passed"), "test_real": outcome("passed")}
    refused = {name: outcome("refused", layers=1) for name in stock}
    found = upstream.faults(stock, refused | {"test_more": outcome("passed")}, (), "complex")
    assert found == ["test_real: refused if converted\nthe traceback"]
