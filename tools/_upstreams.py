"""Repositories whose own tests `tools/upstream.py` runs: which tests, and with what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["UPSTREAMS", "Upstream", "upstream_of"]

MODELS: Final = (
    "densenet121",
    "efficientnet_b0",
    "mobilenetv3_small_100",
    "regnetx_002",
    "resnet18",
    "vgg11_bn",
)
"""Normalizations of PyTorch in blocks and in a Sequential, and timm's with and without activation.

`regnetx_002` is the model of timm's test of features that TorchScript compiles.
"""

JAX_PLUGIN: Final = "with_frameworks.jax_layers.upstream_plugin"


@dataclass(frozen=True, slots=True)
class Upstream:
    """A repository and its tests.

    Attributes
    ----------
    name
        Its name in messages.
    files
        Test files; where all are there, it is this repository.
    plugin
        What pytest loads: it puts the engine's models or layers in the place of stock's.
    subjects
        Models, or packages, that are tested: each must pass some test.
    refusable
        A word in the names of tests that may be refused.
    versions
        Packages whose versions are told.
    environment
        The virtual environment, and the extras and variables that make builds it with.
    options
        More options for pytest.
    settings
        Its file of pytest's settings; "" where it asks for plugins that the tests do not need.
    """

    name: str
    files: tuple[str, ...]
    plugin: str
    subjects: tuple[str, ...]
    refusable: str
    versions: tuple[str, ...]
    environment: str
    extras: tuple[str, ...]
    variables: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    settings: str = ""

    def needs(self) -> str:
        """Return what to say to make: the stamps of the environment, and variables."""
        stamps = [f"{self.environment}/.with-{extra}" for extra in self.extras]
        return " ".join([*stamps, f"VENV={self.environment}", *self.variables])


def _on_jax(name: str, files: tuple[str, ...], package: str) -> Upstream:
    return Upstream(
        name,
        files,
        JAX_PLUGIN,
        (name,),
        "complex",
        (package, "jax"),
        ".venv-frameworks",
        ("test", "frameworks"),
        ("HEADERS=jaxlib",),
        ("-k", "batch_norm or batchnorm or init_state", f"--layers-of={name}"),
    )


UPSTREAMS: Final = (
    Upstream(
        "timm",
        ("tests/test_models.py", "timm/__init__.py"),
        "with_torch.architectures.timm_plugin",
        MODELS,
        "torchscript",
        ("timm", "torch"),
        ".venv-architectures",
        ("test", "torch", "architectures"),
        options=(f"--models={','.join(MODELS)}",),
        settings="pyproject.toml",
    ),
    _on_jax("flax", ("tests/linen/linen_test.py", "tests/nnx/nn/normalization_test.py"), "flax"),
    _on_jax("equinox", ("tests/test_nn.py", "tests/test_stateful.py"), "equinox"),
    _on_jax("haiku", ("haiku/_src/batch_norm_test.py",), "dm-haiku"),
)


def upstream_of(source: Path) -> Upstream | None:
    """Return the repository that a folder is a checkout of."""
    found = (one for one in UPSTREAMS if all((source / file).is_file() for file in one.files))
    return next(found, None)
