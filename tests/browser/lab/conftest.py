"""The page of the lab, with a recording of a tiny real experiment, in a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from backnorm.lab.page.assemble import assemble

if TYPE_CHECKING:
    from collections.abc import Iterator

    from browser.chromium import Tab

RECORDING = Path(__file__).parent / "experiment.json"
"""`backnorm lab experiment --rate 0.1 --rate 0.5 --seeds 2 --epochs 3`, PyTorch 2.13."""


@pytest.fixture(scope="session")
def experiment() -> dict[str, Any]:
    """The recording that the page shows."""
    return dict(json.loads(RECORDING.read_text()))


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory, experiment: dict[str, Any]) -> Path:
    """The page in a file."""
    path = tmp_path_factory.mktemp("lab") / "lab.html"
    path.write_text(assemble("en", experiment), "utf-8")
    return path


@pytest.fixture(scope="session")
def tab() -> Iterator[Tab]:
    """A tab of one browser for all tests, which open the page anew."""
    pytest.importorskip(
        "websockets", reason="backnorm[browser] is not installed; make test-browser is"
    )
    from browser.chromium import browser, found  # noqa: PLC0415 - needs websockets

    if found() is None:
        pytest.skip("Chromium is not installed: apt-get install chromium; .ci/run does")
    with browser() as one:
        yield one


@pytest.fixture
def lab(tab: Tab, page: Path) -> Tab:
    """The tab with the page as it opens, on a desk."""
    tab.open(page, width=1100, height=800)
    return tab
