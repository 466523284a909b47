"""ONNX files on the command line: the verdict forward only in each report, and exit statuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

from backnorm.cli import main
from backnorm.report import json_schema

pytest.importorskip("onnx", reason="onnx is not installed; make test has it")

from onnx_models import chain_of, constants, node, save_model

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def run(*words: str) -> Result:
    """Run backnorm audit."""
    return CliRunner().invoke(main, ["audit", *words])


@pytest.fixture(name="right")
def right_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A layer normalization without a fault, in the current folder."""
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "right.onnx", chain_of(), constants())
    return "right.onnx"


@pytest.fixture(name="wrong")
def wrong_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A layer normalization without an eps."""
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "wrong.onnx", chain_of(), constants(eps=0.0))
    return "wrong.onnx"


def test_a_right_forward_pass_is_forward_only(right: str) -> None:
    """It is not called sound, the exit status is 0, and the reason is told."""
    result = run(right)
    assert result.exit_code == 0
    assert "forward only" in result.stdout
    assert "1 layer audited: 1 forward only." in result.stdout
    assert "Forward only: onnxruntime-training" in result.stdout
    assert "yes" not in result.stdout


def test_a_finding_makes_the_status_1(wrong: str) -> None:
    """With --fail-on unsound it does not: there is no gradient that could be unsound."""
    result = run(wrong)
    assert result.exit_code == 1
    assert "1 layer audited: 1 forward only (1 with findings)." in result.stdout
    assert run(wrong, "--fail-on", "unsound").exit_code == 0
    assert run(wrong, "--ignore", "L04").exit_code == 0


def test_each_document_says_forward_only(right: str, tmp_path: Path) -> None:
    """JSON by its schema, HTML, JUnit, SARIF, GitLab's report and Markdown."""
    names = ("json", "html", "junit", "sarif", "gitlab", "markdown")
    options = [word for name in names for word in (f"--{name}", f"out.{name}")]
    assert run(right, *options).exit_code == 0
    said: dict[str, str] = {name: (tmp_path / f"out.{name}").read_text() for name in names}
    document = json.loads(said["json"])
    jsonschema.validate(document, json_schema())
    (target,) = document["targets"]
    assert (target["sound"], target["not_judged"]) == (None, "")
    assert target["forward_only"].startswith("onnxruntime-training")
    assert "? forward only" in said["html"]
    suite: Any = ET.fromstring(said["junit"]).find("testsuite")  # noqa: S314 - our own
    assert suite.get("skipped") == "1"
    assert suite.find("testcase/skipped") is not None
    (result,) = json.loads(said["sarif"])["runs"][0]["results"]
    assert (result["ruleId"], result["level"]) == ("forward-only", "note")
    location = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location["uri"] == right
    (entry,) = json.loads(said["gitlab"])
    assert (entry["check_name"], entry["severity"]) == ("forward-only", "info")
    assert "1 forward only" in said["markdown"]


def test_github_has_annotations_for_findings_alone(right: str, wrong: str) -> None:
    """Of a right forward pass the summary says that it is forward only."""
    result = run(right, wrong, "--format", "github")
    errors = [line for line in result.stdout.splitlines() if line.startswith("::")]
    assert len(errors) == 1
    assert errors[0].startswith("::error file=wrong.onnx,title=L04 ")
    assert "2 layers audited: 2 forward only (1 with findings)." in result.stdout


@pytest.mark.parametrize(
    "words",
    [("--kind", "layer"), ("--axes", "NTC"), ("--args", "[4]"), ("--model",), ("--control",)],
    ids=lambda words: words[0],
)
def test_options_about_objects_of_python_are_refused(right: str, words: tuple[str, ...]) -> None:
    """A node is what its file says."""
    result = run(right, *words)
    assert result.exit_code == 2
    message = f"{words[0]} cannot be used with {right}; audit the file in another run"
    assert message in " ".join(result.stderr.split())


def test_a_whole_file_is_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One record for each node, in the order of the graph, and -v tells what ran it."""
    monkeypatch.chdir(tmp_path)
    held = {
        name: np.linspace(0.5, 1.5, 6, dtype=np.float32)
        for name in ("gamma", "beta", "mean", "var")
    }
    nodes = [
        node("BatchNormalization", "x gamma beta mean var", "h"),
        node("InstanceNormalization", "h gamma beta", "y"),
    ]
    save_model(tmp_path / "m.onnx", nodes, held, shape=("N", 6, 4, 4))
    result = run("m.onnx", "-v", "--quick")
    assert result.exit_code == 0
    assert result.stdout.index("m.onnx:/h") < result.stdout.index("m.onnx:/y")
    assert "It was run by" in result.stdout
