"""The pool of threads: alone, under ThreadSanitizer; and how many threads there are."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import backnorm
from backnorm.kernels import native_kernel

HERE = Path(__file__).parent
NATIVE = Path(backnorm.__file__).parent / "kernels" / "_native"
SOURCES = [NATIVE / f"{name}.cpp" for name in ("threads", "pool", "openmp", "processors")]
COMPILER = shutil.which(os.environ.get("CXX", "c++"))

MOST_SECONDS = 600
"""It needs 5 s; a pool that hangs would hang for ever."""

needs_native = pytest.mark.skipif(not native_kernel.levels(), reason="the C++ part is not built")


def compiled(program: Path, *options: str) -> bool:
    """Compile threads.cpp with the pool; False if the compiler does not know an option."""
    assert COMPILER
    base = [COMPILER, "-std=c++17", "-O1", "-g", "-pthread", f"-I{NATIVE}", "-o", str(program)]
    sources = [str(HERE / "threads.cpp"), *map(str, SOURCES), "-ldl"]
    done = subprocess.run([*base, *options, *sources], capture_output=True, check=False, text=True)
    return done.returncode == 0


@pytest.mark.skipif(not COMPILER, reason="there is no compiler")
@pytest.mark.skipif(not NATIVE.exists(), reason="the sources of the C++ part are not here")
def test_the_pool_under_the_thread_sanitizer(tmp_path: Path) -> None:
    """No race; each piece is done once; nested calls, exceptions, and a pool that is held up."""
    program = tmp_path / "threads"
    if not compiled(program, "-fsanitize=thread"):
        pytest.skip("the compiler has no ThreadSanitizer")
    done = subprocess.run(
        [program],
        # Else callers work alone for a while if they have waited long, as on a busy machine. Two
        # sanitizers in one process end it: `make sanitize` has set the other one.
        env=os.environ | {"OMP_WAIT_POLICY": "active", "LD_PRELOAD": ""},
        capture_output=True,
        timeout=MOST_SECONDS,
        check=False,
        text=True,
    )
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("ThreadSanitizer does not run on this system")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def groups(tmp_path: Path, listed: str, files: dict[str, str]) -> int:
    """Return the limit of a process in these groups, with these files."""
    for name, text in files.items():
        file = tmp_path / "mount" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "groups").write_text(listed)
    limit = native_kernel.tensor_calls().group_limit
    return limit(str(tmp_path / "groups"), str(tmp_path / "mount"))  # type: ignore[no-any-return]


LIMITS = {
    "nothing": ("0::/\n", {}, 0),
    "max": ("0::/\n", {"cpu.max": "max 100000\n"}, 0),
    "two": ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
    "rounded up": ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
    "less than one": ("0::/\n", {"cpu.max": "10000 100000\n"}, 1),
    "its own": ("0::/a/b\n", {"cpu.max": "max 1\n", "a/b/cpu.max": "3 1\n"}, 3),
    "of one above": ("0::/a/b\n", {"a/cpu.max": "2 1\n", "a/b/cpu.max": "3 1\n"}, 2),
    "of another": ("0::/a\n", {"b/cpu.max": "2 1\n"}, 0),
    "older": (
        "4:memory:/\n3:cpu,cpuacct:/a\n",
        {"cpu,cpuacct/a/cpu.cfs_quota_us": "400000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
        4,
    ),
    "older, none": (
        "3:cpu:/\n",
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        0,
    ),
    "damaged": ("0::/\nx\n:\n", {"cpu.max": "many"}, 0),
}


@needs_native
@pytest.mark.parametrize(("listed", "files", "limit"), LIMITS.values(), ids=LIMITS)
def test_a_control_group_limits_the_threads(
    tmp_path: Path, listed: str, files: dict[str, str], limit: int
) -> None:
    """The least of the quotas of a group and of those above it, rounded up; 0 is no limit."""
    assert groups(tmp_path, listed, files) == limit


COUNTS = {"3": 3, " 4,2": 4, "5 ": 5, "": 0, "0": 0, "-1": 0, "many": 0, "2x": 0, "9" * 30: 1 << 30}


@needs_native
@pytest.mark.parametrize(("value", "count"), COUNTS.items())
def test_the_number_in_a_variable(value: str, count: int) -> None:
    """The first of a list; what is no number is ignored."""
    assert native_kernel.tensor_calls().first_count(value) == count
