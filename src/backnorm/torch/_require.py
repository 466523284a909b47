"""Say in plain words that PyTorch is missing, before anything else is imported."""

from __future__ import annotations

import importlib.util

from backnorm.errors import NotInstalledError

__all__ = ["require_torch"]


def require_torch() -> None:
    """Raise NotInstalledError if PyTorch is not there."""
    if importlib.util.find_spec("torch") is None:
        raise NotInstalledError.package("torch", "torch", "backnorm.torch")
