"""pytest plug-in: a layer's gradient checked in a test of one line.

It is loaded where it is asked for, by ``pytest -p backnorm.testing.pytest_plugin`` or by
``pytest_plugins = ["backnorm.testing.pytest_plugin"]`` in the conftest.py at the root, and not by
itself: an entry point would make every run of pytest load NumPy wherever backnorm is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, get_args

import pytest

from backnorm.audit import audit
from backnorm.audit.record import Path
from backnorm.errors import UnknownNameError
from backnorm.report.to_text import details

if TYPE_CHECKING:
    from backnorm.audit.kinds import Kind
    from backnorm.audit.record import Record

__all__ = [
    "AssertGradient",
    "assert_gradient_goes_through",
    "pytest_collection_modifyitems",
    "pytest_configure",
]

MARKER: Final = "backnorm_audit"
FIXTURE: Final = "assert_gradient_goes_through"
USUAL: Final[dict[str, Any]] = {"quick": True}


class AssertGradient(Protocol):
    """What the fixture gives."""

    def __call__(
        self,
        layer: object,
        through: Path = "both",
        *,
        kind: Kind | None = None,
        seed: int | None = None,
        quick: bool | None = None,
    ) -> Record:
        """Audit a layer, and fail unless its gradient is right and goes through that."""
        ...


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    about = (
        "kind, seed and extent of the audits in this test; tests that audit get it by themselves"
    )
    config.addinivalue_line("markers", f"{MARKER}(kind=None, seed=0, quick=True): {about}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that audit, so that -m backnorm_audit chooses them."""
    for item in items:
        if FIXTURE in getattr(item, "fixturenames", ()) and not item.get_closest_marker(MARKER):
            item.add_marker(MARKER)


@pytest.fixture
def assert_gradient_goes_through(request: pytest.FixtureRequest) -> AssertGradient:
    """Audit a layer, and fail with the findings in full unless its gradient is right.

    Takes a layer, through what its gradient must go ("both", "mean", "variance", "none"), and as
    keywords `kind`, `seed` and `quick` of `backnorm.audit`; returns the record. `quick` is
    True where nothing else is said: the name says what is asserted.
    """
    marker = request.node.get_closest_marker(MARKER)
    options = {} if marker is None else marker.kwargs

    def check(
        layer: object,
        through: Path = "both",
        *,
        kind: Kind | None = None,
        seed: int | None = None,
        quick: bool | None = None,
    ) -> Record:
        __tracebackhide__ = True
        if through not in get_args(Path):
            raise UnknownNameError.choice("through", through, get_args(Path))
        given = {"kind": kind, "seed": seed, "quick": quick}
        chosen = {name: value for name, value in given.items() if value is not None}
        record = audit(layer, **{**USUAL, **options, **chosen})
        if not record.clean or record.through != through:
            pytest.fail(_explanation(record, through), pytrace=False)
        return record

    return check


def _explanation(record: Record, through: Path) -> str:
    """Say what was expected, what was found, and all that the audit has to say about it."""
    shares = record.coefficients
    got = f"goes through {record.through}" if record.audited else "could not be audited"
    numbers = f"direct {shares.direct}, mean {shares.mean}, variance {shares.variance}"
    verdict = f"sound: {record.sound}; {record.law}; {numbers}; rest {record.unexplained}"
    first = f"The gradient of {record.target} must be right and go through {through}; it {got}."
    return "\n".join([first, *([verdict] if record.audited else []), "", *details(record)])
