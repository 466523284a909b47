"""pytest plug-in: audit the gradient of a layer in a test of one line.

Load it with ``pytest -p backnorm.testing.pytest_plugin``, or with
``pytest_plugins = ["backnorm.testing.pytest_plugin"]`` in the conftest.py at the root. It is not an
entry point: that would make every run of pytest load NumPy wherever backnorm is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final, get_args

import pytest

from backnorm.audit import audit
from backnorm.audit.record import Path
from backnorm.errors import UnknownNameError
from backnorm.report.to_text import details
from backnorm.testing._project import Project

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.audit.kinds import Kind
    from backnorm.audit.record import Record

__all__ = [
    "AssertGradient",
    "assert_gradient_goes_through",
    "backnorm_today",
    "pytest_collection_modifyitems",
    "pytest_configure",
]

MARKER: Final = "backnorm_audit"
FIXTURE: Final = "assert_gradient_goes_through"
USUAL: Final[dict[str, Any]] = {"quick": True}


@dataclass(frozen=True)
class AssertGradient:
    """What the fixture returns: a function that audits a layer.

    Attributes
    ----------
    options
        Keywords for `backnorm.audit`, from the marker of the test.
    project
        What the project's pyproject.toml says.
    """

    options: Mapping[str, Any]
    project: Project

    def __call__(
        self,
        layer: object,
        through: Path = "both",
        *,
        kind: Kind | None = None,
        axes: str | None = None,
        seed: int | None = None,
        quick: bool | None = None,
    ) -> Record:
        """Audit a layer, and fail unless its gradient is right and takes these paths."""
        __tracebackhide__ = True
        if through not in get_args(Path):
            raise UnknownNameError.choice("through", through, get_args(Path))
        arguments = {"kind": kind, "axes": axes, "seed": seed, "quick": quick}
        given = {name: value for name, value in arguments.items() if value is not None}
        options = {**USUAL, **self.project.options(layer), **self.options, **given}
        record, expired = self.project.judged(audit(layer, **options), layer)
        if not record.clean or record.through != through:
            text = "\n".join([_explanation(record, through), *expired])
            pytest.fail(text, pytrace=False)
        return record


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    help_ = "kind, axes, seed and extent of the audits in this test; added to tests that audit"
    config.addinivalue_line("markers", f"{MARKER}(kind=None, axes='', seed=0, quick=True): {help_}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that audit, so that -m backnorm_audit selects them."""
    for item in items:
        if FIXTURE in getattr(item, "fixturenames", ()) and not item.get_closest_marker(MARKER):
            item.add_marker(MARKER)


@pytest.fixture(scope="session")
def backnorm_today() -> date:
    """Return the day on which accepted findings must hold; a project may set another."""
    return datetime.now(UTC).astimezone().date()


@pytest.fixture(scope="session")
def _backnorm_project(pytestconfig: pytest.Config, backnorm_today: date) -> Project:
    return Project.in_folder(pytestconfig.rootpath, backnorm_today)


@pytest.fixture
def assert_gradient_goes_through(
    request: pytest.FixtureRequest, _backnorm_project: Project
) -> AssertGradient:
    """Audit a layer, and fail with the findings in full unless its gradient is right.

    Arguments are the layer, the statistics that its gradient must go through ("both", "mean",
    "variance" or "none"), and by name `kind`, `axes`, `seed` and `quick` of `backnorm.audit`. The
    record is returned. `quick` is True by default. Of [tool.backnorm] in the pyproject.toml of
    pytest's root, `kind` and `axes` of the layer, `quick`, and all that says which findings count,
    hold here too.
    """
    marker = request.node.get_closest_marker(MARKER)
    return AssertGradient({} if marker is None else marker.kwargs, _backnorm_project)


def _explanation(record: Record, through: Path) -> str:
    """Return what was expected, what was measured, and the details of the audit."""
    shares = record.coefficients
    measured = f"goes through {record.through}" if record.audited else "could not be audited"
    numbers = f"direct {shares.direct}, mean {shares.mean}, variance {shares.variance}"
    words = {True: "sound", False: "not sound", None: f"not judged: {record.not_judged}"}
    if record.forward_only:
        words[None] = f"forward only: {record.forward_only}"
    verdict = f"{words[record.sound]}; {record.law}; {numbers}; residual {record.residual}"
    target = record.target
    first = f"The gradient of {target} must be right and go through {through}; it {measured}."
    return "\n".join([first, *([verdict] if record.audited else []), "", *details(record)])
