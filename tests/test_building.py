"""What `make` shows while the C++ part is compiled."""

from __future__ import annotations

import sys

import pytest

import building

PART = "level_avx2_float"
MADE = f"CMakeFiles/{PART}.dir/src/backnorm/kernels/_native/level.cpp.o"
LINKED = "[24/24] Linking CXX shared module _native_ext.so"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"  [3/24] Building CXX object {MADE}", f"   3 of 24 compiled: level.cpp ({PART})"),
        (LINKED, "   24 of 24 compiled: _native_ext.so"),
        ("  level.cpp:3: warning: [1/2] of it", None),
    ],
)
def test_a_line_of_ninja_tells_how_far_it_is(line: str, message: str | None) -> None:
    """All other lines tell nothing."""
    assert building.progress(line) == message


@pytest.mark.parametrize(("status", "error"), [(0, ""), (3, f"before\n{LINKED}\n")])
def test_other_output_is_shown_after_a_failure_only(
    status: int, error: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """And the exit status is that of the command."""
    code = f"print('before'); print({LINKED!r}); raise SystemExit({status})"
    assert building.main([sys.executable, "-c", code]) == status
    assert capfd.readouterr() == ("   24 of 24 compiled: _native_ext.so\n", error)
