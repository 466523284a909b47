"""What holds for the tests of architectures."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from with_torch.architectures import catalog  # noqa: E402


@pytest.fixture(autouse=True, scope="session")
def importable() -> None:
    """Whichever test runs first, it can import torchvision, and timm, which imports that."""
    if catalog.installed():
        catalog.make_torchvision_importable()
