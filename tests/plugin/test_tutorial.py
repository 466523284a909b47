"""The files that docs/tutorials/check-my-layer.md gives to copy."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

pytest_plugins = ["pytester"]

PAGE = (Path(__file__).parents[2] / "docs" / "tutorials" / "check-my-layer.md").read_text("utf-8")


def block(containing: str, kind: str) -> str:
    """Return the only block of the page that has some words."""
    found = [
        text for text in re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL) if containing in text
    ]
    (text,) = found
    return str(text)


@pytest.mark.parametrize(("layer", "passed"), [("MyNorm", 0), ("Fixed", 2)])
def test_the_test_file_runs_as_copied(
    layer: str, passed: int, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails for the faulty layer and passes for the right one, by plain pytest."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    layers = block("class MyNorm", "python") + block("class Fixed", "python")
    files: Sequence[tuple[str, str]] = [
        ("my_norm.py", layers),
        ("conftest.py", block("pytest_plugins", "text")),
        ("tests/test_my_norm.py", block("assert_gradient", "text").replace("MyNorm", layer)),
    ]
    for name, text in files:
        path = pytester.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    command = Path(sys.executable).with_name("pytest")
    result: Any = pytester.run(command, "--strict-markers", "-p", "no:randomly", "tests")
    result.assert_outcomes(passed=passed, failed=2 - passed)


def commands() -> list[str]:
    """Return what the workflow runs after the installation."""
    steps = yaml.safe_load(block("runs-on", "yaml"))["jobs"]["audit"]["steps"]
    checkouts = [step["with"] for step in steps if "repository" in step.get("with", {})]
    install, *runs = [step["run"] for step in steps if "run" in step]
    assert install == f"pip install pytest ./{checkouts[0]['path']}"
    return runs


@pytest.mark.parametrize(("layer", "status"), [("MyNorm", 1), ("Fixed", 0)])
def test_the_workflow_runs_as_copied(
    layer: str, status: int, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command ends with 1 for the faulty layer and with 0 for the right one."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    tests = pytester.mkdir("tests") / "test_my_norm.py"
    layers = block("class MyNorm", "python") + block("class Fixed", "python")
    (pytester.path / "my_norm.py").write_text(layers, "utf-8")
    (pytester.path / "conftest.py").write_text(block("pytest_plugins", "text"), "utf-8")
    tests.write_text(block("assert_gradient", "text").replace("MyNorm", layer), "utf-8")
    folder = Path(sys.executable).parent
    for command in commands():
        program, *arguments = shlex.split(command.replace("MyNorm", layer))
        result: Any = pytester.run(folder / program, *arguments)
        assert result.ret == status, result.outlines
