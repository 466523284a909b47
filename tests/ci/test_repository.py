"""An example repository, with the files of docs/ci.md, as CI systems run them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import xmlschema
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ci.md").read_text("utf-8")
SCHEMAS = ROOT / "tests" / "report" / "schemas"
EXAMPLE = Path(__file__).parent

pytest.importorskip("torch", reason="the layer of the example is a module of PyTorch")


def blocks(kind: str) -> list[str]:
    """Return the blocks of the page in a language."""
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def block(containing: str, kind: str) -> str:
    """Return the only block of the page that has some words."""
    (text,) = [text for text in blocks(kind) if containing in text]
    return text


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The example with the first pyproject.toml of the page."""
    folder = tmp_path / "repository"
    shutil.copytree(EXAMPLE / "repository", folder)
    (folder / "pyproject.toml").write_text(blocks("toml")[0], "utf-8")
    return folder


def changed(repository: Path) -> None:
    """Apply the pull request, which detaches the variance."""
    diff = (EXAMPLE / "pull_request.diff").read_text("utf-8")
    removed = re.findall(r"^-( .*\n)", diff, re.MULTILINE)
    added = re.findall(r"^\+( .*\n)", diff, re.MULTILINE)
    layers = repository / "layers.py"
    text = layers.read_text("utf-8")
    assert text.count("".join(removed)) == 1
    layers.write_text(text.replace("".join(removed), "".join(added)), "utf-8")


def shell(repository: Path, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a runner does: in bash, and with nothing of this process's environment."""
    clean = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
        "HOME": str(repository.parent),
        "LANG": "C.UTF-8",
        **variables,
    }
    command = ["/bin/bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=repository, env=clean, capture_output=True, text=True, check=False
    )


def steps_of_the_action(**inputs: str) -> list[tuple[str, dict[str, str]]]:
    """Return the scripts of the action that run with some inputs, and their variables."""
    action = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
    known = {name: str(one.get("default", "")) for name, one in action["inputs"].items()}
    assert inputs.keys() <= known.keys()
    values = {f"inputs.{name}": text for name, text in {**known, **inputs}.items()}
    values["github.action_path"] = str(ROOT)
    steps = []
    for step in action["runs"]["steps"]:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "an input in a script is code"
        if step.get("if") == "inputs.install != 'none'" and values["inputs.install"] == "none":
            continue
        variables = {
            name: values[re.fullmatch(r"\$\{\{ (\S+) \}\}", text)[1]]  # type: ignore[index]
            for name, text in step["env"].items()
        }
        steps.append((step["run"], variables))
    return steps


def action(repository: Path, **inputs: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run the action's audit; return how it went, and the summary of the step."""
    summary = repository.parent / "summary.md"
    summary.write_text("before\n", "utf-8")
    ((script, variables),) = steps_of_the_action(install="none", **inputs)
    places = {"RUNNER_TEMP": str(repository.parent), "GITHUB_STEP_SUMMARY": str(summary)}
    done = shell(repository, script, **variables, **places)
    return done, summary.read_text("utf-8")


def test_a_right_layer_is_green(repository: Path) -> None:
    """No annotation, and a summary without a table."""
    done, summary = action(repository)
    assert (done.returncode, done.stderr) == (0, "")
    assert "::" not in done.stdout
    assert summary.startswith("before\n## Audit of normalization layers\n\n1 layer audited: 1 so")


def test_a_pull_request_that_detaches_is_red_with_one_line(repository: Path) -> None:
    """The line of the page; the summary and SARIF say the same, in the line of the class."""
    changed(repository)
    done, summary = action(repository, sarif="backnorm.sarif")
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if line.startswith("::")]
    assert lines == [block("::error", "text").strip()]
    definition = (repository / "layers.py").read_text("utf-8").splitlines()[7]
    assert definition.startswith("class ChannelNorm")
    assert "| layers.py:ChannelNorm | NO | mean | G02 |" in summary
    log = json.loads((repository / "backnorm.sarif").read_text("utf-8"))
    schema = json.loads((SCHEMAS / "sarif-2.1.0.json").read_text("utf-8"))
    jsonschema.Draft4Validator(schema).validate(log)
    (result,) = log["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("layers.py", 8)


def test_what_cannot_be_audited_is_red_too(repository: Path) -> None:
    """With the status 2, also where findings never fail."""
    done, _ = action(repository, targets="layers.py:None_ such.py:N", arguments="--fail-on never")
    assert done.returncode == 2
    assert done.stdout.count("::error ") == 2


def test_the_action_installs_its_own_folder_or_what_it_is_told(repository: Path) -> None:
    """By pip of the Python on PATH; in place of pip a script tells what it was asked."""
    tools = repository.parent / "tools"
    tools.mkdir()
    (tools / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', "utf-8")
    (tools / "python").chmod(0o755)
    for inputs, what in (({}, str(ROOT)), ({"install": "backnorm[torch]"}, "backnorm[torch]")):
        (script, variables), _ = steps_of_the_action(**inputs)
        done = shell(repository, script, **{**variables, "PATH": str(tools)})
        assert done.stdout.split() == ["-m", "pip", "install", what]


def test_the_workflow_uses_what_the_action_has() -> None:
    """Its inputs, and the file that a later step uploads."""
    workflow = yaml.safe_load(block("runs-on", "yaml"))
    steps = workflow["jobs"]["audit"]["steps"]
    (used,) = [step for step in steps if step.get("uses", "").startswith("OWNER/backnorm@")]
    assert steps_of_the_action(**used["with"])
    (upload,) = [step for step in steps if "upload-sarif" in step.get("uses", "")]
    assert upload["with"]["sarif_file"] == used["with"]["sarif"]


def runs(steps: list[Any]) -> str:
    """Return the commands of a job, without the one that installs."""
    commands = [step["run"] if isinstance(step, dict) else step for step in steps]
    installing = [command for command in commands if command.startswith("pip install ")]
    assert len(installing) == 1
    return "\n".join(command for command in commands if command not in installing)


@pytest.mark.parametrize("status", [0, 1])
def test_the_steps_without_the_action_do_the_same(repository: Path, status: int) -> None:
    """As copied: red or green, with SARIF."""
    steps = yaml.safe_load(block("--format github --sarif", "yaml"))
    if status:
        changed(repository)
    done = shell(repository, runs(steps))
    assert done.returncode == status
    assert done.stdout.count("::error ") == status
    assert (repository / "backnorm.sarif").is_file()


@pytest.mark.parametrize("status", [0, 1])
def test_the_job_of_gitlab_runs_as_copied(repository: Path, status: int) -> None:
    """Its artifacts are there, and follow their schemas."""
    job = yaml.safe_load(block("codequality", "yaml"))["gradient"]
    if status:
        changed(repository)
    assert shell(repository, runs(job["script"])).returncode == status
    reports = job["artifacts"]["reports"]
    quality = json.loads((repository / reports["codequality"]).read_text("utf-8"))
    schema = json.loads((SCHEMAS / "gitlab-code-quality.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(quality)
    assert [one["check_name"] for one in quality] == ["G02"] * status
    xmlschema.XMLSchema(SCHEMAS / "junit-10.xsd").validate(repository / reports["junit"])


@pytest.mark.parametrize("status", [0, 1])
def test_the_hook_of_pre_commit_runs_as_copied(repository: Path, status: int) -> None:
    """The configuration names a hook that there is, whose entry audits the targets."""
    (repo,) = yaml.safe_load(block("additional_dependencies", "yaml"))["repos"]
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    (hook,) = [hook for hook in hooks if hook["id"] == repo["hooks"][0]["id"]]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert repo["rev"] == f"v{version}"
    assert (hook["language"], hook["pass_filenames"]) == ("python", False)
    if status:
        changed(repository)
    done = shell(repository, shlex.join(shlex.split(hook["entry"])))
    assert done.returncode == status
    assert ("G02: The gradient does not go through the variance" in done.stdout) is bool(status)


@pytest.mark.parametrize("text", blocks("toml"))
def test_each_table_of_the_page_is_read(repository: Path, text: str) -> None:
    """By the command itself: on a target that is not there, which is told in a line."""
    (repository / "pyproject.toml").write_text(text, "utf-8")
    done = shell(repository, "backnorm audit none.py:N --quick")
    assert done.returncode == 2
    assert done.stdout.startswith("G27: ") or "G20: " in done.stdout
    assert done.stderr == ""
