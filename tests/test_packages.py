"""The tool that audits Python packages without an adapter: versions, and the Pythons it needs."""

from __future__ import annotations

import pytest

from _interpreters import interpreter
from _packages import PACKAGES, version_of

VERSIONS = {
    ("triton", "liger_kernel.LigerRMSNorm"): "liger-kernel==",
    ("triton", "fla.RMSNorm"): "fla-core==",
    ("numpy-ml", "numpy_ml.BatchNorm1D"): "numpy-ml==",
    ("autograd", "batch norm in autograd"): "autograd==",
}


@pytest.mark.parametrize(("name", "target"), VERSIONS)
def test_the_version_is_that_of_the_package_of_the_layer(name: str, target: str) -> None:
    """Of several packages in one environment, the one that the layer's name begins with."""
    package = next(one for one in PACKAGES if one.name == name)
    words = [word for words in package.installed for word in words.split()]
    assert VERSIONS[name, target] + version_of(package, target) in words


def test_a_python_that_is_not_here_is_none() -> None:
    """A name on the path counts only if it runs."""
    assert interpreter("1.0") is None
