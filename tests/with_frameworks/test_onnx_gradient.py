"""The gradient of ONNX nodes by onnxruntime-training, in a separate environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from backnorm.cli import main

pytest.importorskip("onnx", reason="onnx is not installed; make test-frameworks has it")

from onnx_models import chain_of, constants, node, save_model

if TYPE_CHECKING:
    from collections.abc import Mapping

PYTHON = Path(__file__).parents[2] / ".venv-dialects-onnxruntime-training" / "bin" / "python"
pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="onnxruntime-training is missing; make dialects-verified has it"
)

VERSION = "onnxruntime-training 1.19.2"
PARAMETERS: Mapping[str, Any] = {"gamma": np.full(5, 1.1, "f4"), "beta": np.full(5, 0.2, "f4")}
STATE: Mapping[str, Any] = {"mean": np.zeros(5, "f4"), "var": np.ones(5, "f4")}
ROWS: Mapping[str, Any] = constants()


def audited(path: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """The exit status, and the only target, of an audit in that environment."""
    words = ("audit", str(path), "--python", str(PYTHON), "--json", "-", *words)
    result = CliRunner().invoke(main, list(words))
    (record,) = json.loads(result.stdout)["targets"]
    return result.exit_code, record


def test_a_batch_normalization_in_training_is_sound(tmp_path: Path) -> None:
    """It is rewritten as the operator of which there is a gradient."""
    nodes = [node("BatchNormalization", "x gamma beta mean var", "y rm rv", training_mode=1)]
    save_model(tmp_path / "net.onnx", nodes, {**PARAMETERS, **STATE})
    status, record = audited(tmp_path / "net.onnx", "--quick")
    assert (status, record["sound"], record["through"]) == (0, True, "both")


def test_a_chain_is_sound(tmp_path: Path) -> None:
    """Of float32 operators, each differentiated."""
    save_model(tmp_path / "net.onnx", chain_of(), ROWS)
    status, record = audited(tmp_path / "net.onnx", "--quick")
    assert (status, record["sound"], record["through"]) == (0, True, "both")


def test_a_variance_with_n_minus_1_is_found_and_its_gradient_is_right(tmp_path: Path) -> None:
    """Forward and backward agree: the law is told apart, the gradient is sound."""
    other = [("ReduceSum", "square axes", "total"), ("Div", "total five", "var")]
    nodes = chain_of()
    nodes[3:4] = [node(*line[:2], line[2]) for line in other]
    save_model(tmp_path / "net.onnx", nodes, {**ROWS, "five": np.float32(5)})
    status, record = audited(tmp_path / "net.onnx", "--quick")
    assert (status, record["sound"]) == (1, True)
    assert [finding["code"] for finding in record["findings"]] == ["L02"]


@pytest.mark.parametrize("operator", ["BatchNormalization", "InstanceNormalization"])
def test_what_it_has_no_gradient_of_is_forward_only(tmp_path: Path, operator: str) -> None:
    """With that reason."""
    inputs = "x gamma beta" + (" mean var" if operator == "BatchNormalization" else "")
    tensors = {**PARAMETERS, **{name: STATE[name] for name in STATE if name in inputs}}
    save_model(tmp_path / "net.onnx", [node(operator, inputs, "y")], tensors)
    _, record = audited(tmp_path / "net.onnx", "--quick")
    assert record["sound"] is None
    assert record["forward_only"] == f"{VERSION} has no gradient of {operator}"
