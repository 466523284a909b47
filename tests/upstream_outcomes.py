"""What came of each test of another project, written for `tools/upstream.py`.

The plugins of pytest that `tools/_upstreams.py` names begin with it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from backnorm.errors import BacknormError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Outcomes", "add_options"]


def add_options(parser: pytest.Parser) -> Any:
    """Add the options that `tools/upstream.py` passes to every plugin, and return their group."""
    group = parser.getgroup("backnorm")
    group.addoption("--outcomes", required=True, type=Path, help="file for the outcomes, in JSON")
    group.addoption("--converted", action="store_true", help="put the engine in stock's place")
    return group


class Outcomes(ABC):
    """One run of the tests, and what came of each.

    Parameters
    ----------
    file
        Where the outcomes are written: by test, its outcome, how many layers of the engine took
        part in it, and why it did not pass.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.outcomes: dict[str, dict[str, Any]] = {}
        self.layers = 0

    @abstractmethod
    def subject(self, item: pytest.Function) -> str:
        """Return the model or the package that a test is about."""

    def is_refusal(self, error: BaseException | None) -> bool:
        """Tell whether an error is a refusal by design."""
        return isinstance(error, BacknormError)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Count the layers of each test from 0."""
        self.layers = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Function, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep what came of the test."""
        report = yield
        if call.when == "call" or not report.passed:
            error = call.excinfo.value if call.excinfo else None
            self.outcomes[item.name] = {
                "model": self.subject(item),
                "outcome": "refused" if self.is_refusal(error) else report.outcome,
                "layers": self.layers,
                "why": "" if error is None else f"{type(error).__name__}: {error}",
                "text": report.longreprtext,
            }
        return report

    def pytest_sessionfinish(self) -> None:
        """Write the outcomes."""
        self.file.write_text(json.dumps(self.outcomes), encoding="utf-8")
