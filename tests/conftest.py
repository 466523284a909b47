"""What holds for all tests."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from backnorm import _meter
from sampling import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

# pytest-xdist tells its workers how wide its terminal is. Tables in tests have the width of a pipe.
os.environ.pop("COLUMNS", None)

# A busy machine must not fail a test: an example has no deadline, and drawing it may take long.
# The examples are the same in each run.
settings.register_profile(
    "backnorm", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("backnorm")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer what `make test-all` and `make sanitize` ask for."""
    parser.addoption("--thorough", action="store_true", help="run every case of every test")
    parser.addoption("--every", type=int, default=1, help="run every n-th case of every test")


@pytest.hookimpl(tryfirst=True)  # before the order is made random
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out cases that take long and are of a kind with others, unless all are asked for."""
    if config.getoption("--thorough"):
        return
    sample = Sample(config.getoption("--every"))
    taken = [sample.takes(item) for item in items]
    config.hook.pytest_deselected(items=[i for i, its in zip(items, taken, strict=True) if not its])
    items[:] = [item for item, its in zip(items, taken, strict=True) if its]


@pytest.fixture(autouse=True)
def _progress_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock of progress: on a busy machine a short command would say how far it is."""
    monkeypatch.setattr(_meter, "monotonic", lambda: 0.0)


@pytest.fixture(autouse=True)
def _pytorch_keeps_its_threads() -> Iterator[None]:
    """Undo what a benchmark does for its process: PyTorch's own layers round by their threads."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    yield
    if torch and torch.get_num_threads() != before:
        torch.set_num_threads(before)
