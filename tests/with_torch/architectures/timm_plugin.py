"""A plugin of pytest for timm's own tests: few models, converted if asked for.

`tools/upstream.py` starts pytest with it, in a process for stock and in another for converted
models. The tests know nothing of it: they call `timm.create_model`, which the plugin replaces.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
import torch

from backnorm.errors import NotSupportedError
from backnorm.torch import conversion_report, convert
from upstream_outcomes import Outcomes, add_options
from with_torch.architectures import catalog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WAY_OUT = "backnorm.torch.revert(model)"
"""What the message of a refusal by design names."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that `tools/upstream.py` passes."""
    group = add_options(parser)
    group.addoption("--models", required=True, help="architectures to run, comma-separated")


def pytest_configure(config: pytest.Config) -> None:
    """Replace timm's function before the tests import it."""
    catalog.make_torchvision_importable()
    import timm  # noqa: PLC0415 - it imports torchvision

    config.addinivalue_line("markers", "timeout(seconds): of a plugin that need not be installed")
    run = Run(config.option.models.split(","), config.option.outcomes)
    config.pluginmanager.register(run)
    if config.option.converted:
        patch = pytest.MonkeyPatch()
        patch.setattr(timm, "create_model", run.converting(timm.create_model))
        config.add_cleanup(patch.undo)


class Run(Outcomes):
    """One run of the tests of timm: which of them, and what came of each.

    Parameters
    ----------
    models
        Names of architectures; a test that is not about one of them is left out.
    file
        Where the outcomes are written.
    """

    def __init__(self, models: list[str], file: Path) -> None:
        super().__init__(file)
        self.models = models

    def subject(self, item: pytest.Function) -> str:
        """Return the architecture."""
        return architecture(item)

    def is_refusal(self, error: BaseException | None) -> bool:
        """Tell whether an error names the way out."""
        return isinstance(error, NotSupportedError) and WAY_OUT in str(error)

    def converting(self, create: Callable[..., Any]) -> Callable[..., Any]:
        """Return timm's function followed by the conversion of all normalizations."""

        @functools.wraps(create)
        def converting(*args: Any, **options: Any) -> Any:
            model = convert(create(*args, **options))
            report = conversion_report(model)
            assert report.converted == len(report.entries) > 0, str(report)
            self.layers += report.converted
            return model

        return converting

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Function]
    ) -> None:
        """Keep the tests of the models; timm adds the name of the weights behind a dot."""
        left_out = [item for item in items if architecture(item) not in self.models]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if architecture(item) in self.models]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        """Start each test from the same random state: weights and inputs are stock's."""
        torch.manual_seed(0)


def architecture(item: pytest.Function) -> str:
    """Return the architecture that a test is about, or "" without one."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return str(parameters.get("model_name", "")).partition(".")[0]
