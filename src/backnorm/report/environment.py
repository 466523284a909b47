"""The environment of a measurement: versions and the platform, without names of machines."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Final

__all__ = ["environment", "processor", "version_of"]

PACKAGES: Final = ("numpy", "torch")
"""Packages whose version changes what is measured."""


def version_of(package: str) -> str | None:
    """Return the version of a package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def environment() -> dict[str, str]:
    """Return the versions that a measurement depends on.

    Returns
    -------
    dict
        Python, the platform, and each package that is installed.

    Examples
    --------
    >>> sorted(environment())[0]
    'numpy'
    """
    versions = {package: version_of(package) for package in PACKAGES}
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        **{package: version for package, version in versions.items() if version is not None},
    }


def processor() -> str:
    """Return the processor's name as the system reports it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
