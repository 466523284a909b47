"""Norms of Python packages without an adapter: examples/frameworks, installed and audited."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from _interpreters import interpreter
from _programs import row_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["PACKAGES", "table", "version_of"]

NO_PYTHON = "{} needs Python {}, which is neither on the path nor among pyenv's."
NO_AUDIT = "The norms of examples/frameworks/{} were not audited: {}"


class PythonPackage(NamedTuple):
    """A package, the environment that it takes, and the file with its norms.

    Attributes
    ----------
    name
        Its name, and that of its environment.
    python
        The version of Python that makes the environment.
    installed
        What pip installs, by arguments of its commands.
    file
        The file in examples/frameworks.
    variables
        Environment variables of the audit.
    """

    name: str
    python: str
    installed: tuple[str, ...]
    file: str
    variables: tuple[tuple[str, str], ...] = ()


PACKAGES = (
    PythonPackage("mygrad", "3.11", ("mygrad==2.5.0",), "mygrad_norm.py"),
    PythonPackage("autograd", "3.11", ("autograd==1.9.1",), "autograd_norm.py"),
    PythonPackage(
        "aesara",
        "3.10",
        ("aesara==2.9.4 numpy<1.24 setuptools<70",),
        "aesara_norm.py",
        (("AESARA_FLAGS", "mode=FAST_COMPILE,cxx="),),
    ),
    PythonPackage("numpy-ml", "3.9", ("numpy-ml==0.1.2 numpy<1.24",), "numpy_ml_norm.py"),
    PythonPackage(
        "triton",
        "3.11",
        (
            "torch==2.13.0 triton==3.9.0 numpy",
            "--no-deps liger-kernel==0.8.5 fla-core==0.6.0 flash-linear-attention==0.6.0",
            "einops==0.8.2 packaging",
        ),
        "triton_norms.py",
    ),
)


def table(source: Path, folder: Path) -> str:
    """Install the packages in a folder, where they are not, and return the table of verdicts."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for one in PACKAGES for row in _rows(one, source, folder)]
    head = "| layer | version | mode | gradient through | D, M, V | sound | findings |"
    return "\n".join([head, "|" + "---|" * 7, *rows, ""])


def _rows(package: PythonPackage, source: Path, folder: Path) -> list[str]:
    python = folder / package.name / "bin" / "python"
    stamp = folder / package.name / "installed"
    if not stamp.exists():
        print(f"== {package.name}", flush=True)
        _install(package, python)
        stamp.touch()
    audited = _audited(package, source, python)
    return [row_of(target, version_of(package, target["target"])) for target in audited]


def version_of(package: PythonPackage, target: str) -> str:
    """Return the version of what a target is of; of the first package where its name says none."""
    words = [word for words in package.installed for word in words.split()]
    pairs = [word.replace("-", "_").split("==") for word in words if "==" in word]
    module = target.partition(".")[0]
    return next((one for name, one in pairs if name.startswith(module)), pairs[0][1])


def _install(package: PythonPackage, python: Path) -> None:
    base = interpreter(package.python)
    if base is None:
        raise SystemExit(NO_PYTHON.format(package.name, package.python))
    subprocess.run([base, "-m", "venv", "--clear", python.parents[1]], check=True)
    # The pip that an older Python brings does not find the wheels of today.
    for words in ("--upgrade pip", *package.installed):
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        subprocess.run([*pip, *words.split()], check=True)


def _audited(package: PythonPackage, source: Path, python: Path) -> Sequence[dict[str, Any]]:
    """Return the targets of the JSON of an audit."""
    command = [sys.executable, "-m", "backnorm", "audit", f"{package.file}:NORMS", "--json", "-"]
    words = [*command, "--python", str(python), "--limit", "1500"]
    variables = {**os.environ, **dict(package.variables)}
    done = subprocess.run(
        words, cwd=source, env=variables, capture_output=True, text=True, check=False
    )
    if not done.stdout:
        raise SystemExit(NO_AUDIT.format(package.file, done.stderr.strip()))
    targets: Sequence[dict[str, Any]] = json.loads(done.stdout)["targets"]
    return targets
