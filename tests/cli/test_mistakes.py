"""Twenty typical mistakes: each message names the cause and the fix, on one line, without -v."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from backnorm.audit.conduct import conduct_by_probes
from backnorm.audit.findings import fault
from backnorm.audit.record import Record
from backnorm.audit.subjects.blame import blamed
from backnorm.audit.subjects.request import AuditRequest
from backnorm.cli import main
from backnorm.cli._targets import find_subjects

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backnorm.cli._jobs import AuditJob

FILES = {
    "norms.py": """
class MyNorm:
    @staticmethod
    def forward(x, gamma, beta):
        return (x - x.mean(0)) * gamma + beta, None
    @staticmethod
    def backward(dy, cache):
        return dy, None, None
class Misspelt(MyNorm):
    @staticmethod
    def forward(x, gamma, beta):
        return x.meen(0), None
class Takes(MyNorm):
    def __init__(self, width):
        pass
class Half:
    @staticmethod
    def forward(x, gamma, beta):
        return x, None
class Alone(MyNorm):
    @staticmethod
    def backward(dy, cache):
        return dy
class Nothing(MyNorm):
    @staticmethod
    def forward(x, gamma, beta):
        x - x.mean(0)
def build():
    return MyNorm()
EPS = 1e-5
""",
    "pkg/norm.py": "from .utils import EPS\nclass MyNorm: pass\n",
    "pkg/utils.py": "EPS = 1\n",
    "inside.py": "from .utils import EPS\nclass MyNorm: pass\n",
    "missing.py": "import pandas_not_there\n",
    "script.py": """
import argparse
p = argparse.ArgumentParser()
p.add_argument("data")
p.parse_args([])
""",
    "broken.py": "x = (\n",
    "gpu.py": "raise RuntimeError('Found no NVIDIA driver on your system')\n",
    "keras/__init__.py": "import tensorflow\n",
    "with_keras.py": "import keras\n",
}

MISTAKES = {
    # what was done: the arguments, words that name the cause, words that name the fix
    "a file that is not there": (("norm.py:MyNorm",), "no file norm.py", "Did you mean norms.py?"),
    "a folder that is not there": (
        ("src/a.py:N",),
        "no file src/a.py. The current",
        "Check the pa",
    ),
    "a name that is not there": (
        ("norms.py:MyNrom",),
        "no MyNrom in norms",
        "Did you mean MyNorm?",
    ),
    "a file without a name": (("norms.py",), "It has MyNorm, Misspelt", "norms.py:MyNorm"),
    "two colons": (("norms.py::MyNorm",), "one colon stands", "Pass norms.py:MyNorm."),
    "a module that is not there": (("jsonn:loads",), "no module jsonn", "Did you mean json"),
    "a relative import": (
        ("pkg/norm.py:MyNorm",),
        "relative import",
        "Pass it as a module: pkg.norm:My",
    ),
    "a relative import in a module without its package": (
        ("inside:MyNorm",),
        "relative import",
        "Pass it as a module, in the folder ",
    ),
    "a module in another folder": (
        ("qqxxjj.norm:MyNorm",),
        "no module qqxxjj. The current folder is ",
        "Run the command in the folder that holds it",
    ),
    "a missing package": (
        ("missing.py:N",),
        "No module named 'pandas_not_there'",
        "pip install pandas_n",
    ),
    "a backend that is not set": (
        ("with_keras.py:N",),
        "KERAS_BACKEND is not set",
        "KERAS_BACKEND",
    ),
    "argparse at the top": (
        ("script.py:N",),
        "script.py:5: `p.parse_args([])`",
        'if __name__ == "__main',
    ),
    "a syntax error": (("broken.py:N",), "'(' was never closed (broken.py:1: `x = (`)", "by hand"),
    "no GPU": (("gpu.py:N",), "gpu.py:1: `raise Runt", "Leave out .cuda()"),
    "a mistake in the layer": (
        ("norms.py:Misspelt",),
        "norms.py:12: `return x.meen(0), None`",
        "by hand",
    ),
    "a constructor's argument": (
        ("norms.py:Takes",),
        "required positional argument: 'width'",
        "Wrap it",
    ),
    "forward without backward": (
        ("norms.py:Half",),
        "it has forward, but not backward",
        "Add backward(dy",
    ),
    "one array in place of three": (
        ("norms.py:Alone",),
        "returned an array",
        "Return dx, dgamma and",
    ),
    "a missing return": (("norms.py:Nothing",), "returned None in place of", "Return "),
    "a function that builds": (("norms.py:build",), "its type is function", "Name a class"),
    "a value": (("norms.py:EPS",), "its type is float", "Name a class"),
    "arguments that are not JSON": (
        ("norms.py:MyNorm", "--args", "{width: 4}"),
        "Expecting prop",
        "pass for",
    ),
    "an unknown kind": (("norms.py:MyNorm", "--kind", "bach"), "'bach' is not one of", "'batch'"),
    "an input without --model": (
        ("norms.py:N", "--input", "8,3"),
        "the input of a model",
        "pass --model",
    ),
    "a finding in place of columns": (
        ("--explain", "G02"),
        "--explain is about the columns",
        "use `backnorm explain G02`",
    ),
    "an unknown code": (("explain", "G1"), "got 'G1'", "backnorm explain lists"),
}


def in_process(jobs: list[AuditJob], *_: object, **__: object) -> Iterator[Record]:
    """Audit as the child does, in this process: a child for each mistake would take a minute."""
    for job in jobs:
        request = AuditRequest(job.kind, job.axes, job.arguments, job.modes)
        try:
            subject, *_ = find_subjects(job.target, request)
        except Exception as error:  # noqa: BLE001 - as the worker
            found = (fault(blamed(job.target, error)),)
            yield Record(job.target, "batch", findings=found, audited=False)
        else:
            yield from conduct_by_probes(subject, quick=True, at_work=lambda _: None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder with the files of the mistakes; what they import is forgotten afterwards."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr("backnorm.cli._jobs.audit_jobs", in_process)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.usefixtures("folder")
def test_a_mistake_is_told_with_its_cause_and_its_fix(name: str) -> None:
    """Status 2, one line that has both, and no table."""
    arguments, cause, fix = MISTAKES[name]
    command = arguments if arguments[0] == "explain" else ("audit", *arguments)
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2, result.output
    lines = [line for line in result.output.splitlines() if cause in line]
    assert lines, result.output
    assert any(fix in line for line in lines), result.output
    assert "through" not in result.output
