"""The interpreter of --python: looked at before the audit, so that a wrong one costs one line."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Final

import click

from backnorm.errors import BacknormError, NotInstalledError, NotSupportedError

__all__ = ["interpreter", "read_interpreter"]

LOOK: Final = (
    "import sys; sys.path.append(sys.path.pop(0)); "
    "print('Python %d.%d' % sys.version_info[:2]); sys.stdout.flush(); import numpy"
)
"""What it is asked to run, in the syntax of every Python. The current folder goes last, as in the
audit: its files must not hide modules."""

OLDEST: Final = (3, 6)
"""The oldest Python whose syntax `backnorm.host` has."""

SECONDS: Final = 60.0
"""Time that it has to import NumPy: on a cold disk that takes some seconds."""


def read_interpreter(_: click.Context, __: click.Parameter, name: str | None) -> str:
    """Return the interpreter's path, or ""; raise BadParameter if it cannot run targets."""
    if name is None:
        return ""
    try:
        return interpreter(name)
    except BacknormError as error:
        raise click.BadParameter(str(error)) from error


def interpreter(name: str) -> str:
    """Return an interpreter's path.

    Parameters
    ----------
    name
        Its path, or its name on PATH.

    Raises
    ------
    NotInstalledError, NotSupportedError
        If it cannot run targets.
    """
    path = shutil.which(name) if name else None
    if path is None:
        raise NotInstalledError.interpreter(name)
    try:
        done = subprocess.run(
            [path, "-c", LOOK], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NotSupportedError.no_python(path, f"{type(error).__name__}") from error
    told = re.search(r"^Python (\d+)\.(\d+)$", done.stdout, re.MULTILINE)
    if told is None:
        raise NotSupportedError.no_python(path, f"exit status {done.returncode}")
    if (int(told[1]), int(told[2])) < OLDEST:
        raise NotSupportedError.old_python(path, f"{told[1]}.{told[2]}")
    if done.returncode:
        raise NotInstalledError.numpy(path, done.stderr)
    return path
