"""A plugin of pytest for the own tests of Flax, Equinox and Haiku: the engine's layers, if asked.

`tools/upstream.py` starts pytest with it, in a process for stock and in another for the layers of
`backnorm.jax.layers`. The tests know nothing of it: they find the class where they look for it.
"""

from __future__ import annotations

import functools
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from upstream_outcomes import Outcomes, add_options

if TYPE_CHECKING:
    from collections.abc import Callable

PLACES = {
    "flax": {
        "linen": ("flax.linen", "flax.linen.normalization"),
        "nnx": ("flax.nnx", "flax.nnx.nn.normalization"),
    },
    "equinox": {"equinox": ("equinox.nn", "equinox.nn._batch_norm")},
    "haiku": {"haiku": ("haiku", "haiku._src.batch_norm")},
}
"""The modules in which tests look for the class, by the files of `backnorm.jax.layers`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that `tools/upstream.py` passes."""
    group = add_options(parser)
    group.addoption("--layers-of", required=True, choices=list(PLACES), help="the repository")


def pytest_configure(config: pytest.Config) -> None:
    """Replace the class before the tests import it."""
    run = LayerRun(config.option)
    config.pluginmanager.register(run)
    if not config.option.converted:
        return
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    for file, places in PLACES[config.option.layers_of].items():
        cls = import_module(f"backnorm.jax.layers.{file}").BatchNorm
        for method in ("__init__", "__call__"):
            patch.setattr(cls, method, run.counting(getattr(cls, method)))
        for place in places:
            patch.setattr(import_module(place), "BatchNorm", cls)


class LayerRun(Outcomes):
    """One run of the tests of a repository."""

    def __init__(self, options: Any) -> None:
        super().__init__(options.outcomes)
        self.name = options.layers_of

    def subject(self, item: pytest.Function) -> str:  # noqa: ARG002 - there is one
        """Return the repository."""
        return str(self.name)

    def counting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method of our layer that is counted."""

        @functools.wraps(method)
        def counting(*args: Any, **options: Any) -> Any:
            self.layers += 1
            return method(*args, **options)

        return counting
