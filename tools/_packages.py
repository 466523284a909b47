"""Norms of Python packages without an adapter: examples/frameworks, installed and audited."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from _programs import row_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["PACKAGES", "table"]


class PythonPackage(NamedTuple):
    """A package, the environment that it takes, and the file with its norms.

    Attributes
    ----------
    name
        Its name, and that of its environment.
    python
        The Python that makes the environment.
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
    PythonPackage("mygrad", "python3.11", ("mygrad==2.5.0",), "mygrad_norm.py"),
    PythonPackage("autograd", "python3.11", ("autograd==1.9.1",), "autograd_norm.py"),
    PythonPackage(
        "aesara",
        "python3.10",
        ("aesara==2.9.4 numpy<1.24 setuptools<70",),
        "aesara_norm.py",
        (("AESARA_FLAGS", "mode=FAST_COMPILE,cxx="),),
    ),
    PythonPackage("numpy-ml", "python3.9", ("numpy-ml==0.1.2 numpy<1.24",), "numpy_ml_norm.py"),
    PythonPackage(
        "triton",
        "python3.11",
        (
            "torch==2.13.0 triton==3.9.0",
            "--no-deps liger-kernel==0.8.5 fla-core==0.6.0 flash-linear-attention==0.6.0",
            "einops==0.8.2",
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
    if not python.exists():
        print(f"== {package.name}", flush=True)
        subprocess.run([package.python, "-m", "venv", python.parents[1]], check=True)
        for words in package.installed:
            install = [python, "-m", "pip", "install", "-q", *words.split()]
            subprocess.run(install, check=True)
    versions = ", ".join(word for words in package.installed for word in words.split())
    shown = versions.partition("==")[2].partition(",")[0]
    return [row_of(target, shown) for target in _audited(package, source, python)]


def _audited(package: PythonPackage, source: Path, python: Path) -> Sequence[dict[str, Any]]:
    """Return the targets of the JSON of an audit."""
    command = [sys.executable, "-m", "backnorm", "audit", f"{package.file}:NORMS", "--json", "-"]
    words = [*command, "--python", str(python), "--limit", "1500"]
    variables = {**os.environ, **dict(package.variables)}
    done = subprocess.run(
        words, cwd=source, env=variables, capture_output=True, text=True, check=False
    )
    targets: Sequence[dict[str, Any]] = json.loads(done.stdout)["targets"]
    return targets
