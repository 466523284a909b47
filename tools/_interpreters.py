"""Pythons of this machine: of a version on the path, or of pyenv."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["interpreter"]


def interpreter(version: str) -> str | None:
    """Return a Python of this version that can make environments; None if there is no such one.

    The name on the path may be a shim of pyenv, which runs only where pyenv has that version on.
    """
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [f"python{version}", *sorted(home.glob(f"versions/{version}.*/bin/python"))]
    return next(filter(_makes_environments, map(str, candidates)), None)


def _makes_environments(python: str) -> bool:
    if shutil.which(python) is None:
        return False
    command = [python, "-c", "import ensurepip, venv"]
    return not subprocess.run(command, capture_output=True, check=False).returncode
