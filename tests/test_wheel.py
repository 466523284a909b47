"""What `make wheel` says of the files in a wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

import wheel

LICENCES = [f"backnorm-0.1.0.dist-info/licenses/{name}" for name in wheel.LICENCES]
MODULE = "backnorm/kernels/_native_ext.cpython-311-x86_64-linux-gnu.so"
GOOD = [*LICENCES, MODULE, "backnorm/kernels/__init__.py"]


def test_a_wheel_with_the_module_and_its_licences_is_right() -> None:
    """Python files are of no interest."""
    assert wheel.faults(GOOD) == []


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ([*GOOD, "backnorm.libs/libgomp-24e2ab19.so.1.0.0"], "libgomp-24e2ab19.so.1.0.0"),
        (GOOD[1:], "the licence LICENSE is missing"),
        (LICENCES, "the C++ part is missing"),
    ],
)
def test_what_a_wheel_must_not_be(names: list[str], fault: str) -> None:
    """A renamed library would be a second one; what is linked in comes with its licence."""
    (found,) = wheel.faults(names)
    assert fault in found


def test_the_lowest_and_the_highest_python_are_tried() -> None:
    """The classifiers say which."""
    text = Path(__file__).parents[1].joinpath("pyproject.toml").read_text()
    low, high = wheel.versions(text)
    assert f'requires-python = ">={low}"' in text
    assert f"Python :: {high}" in text
