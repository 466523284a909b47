"""fork, pools of processes, the environment, the GIL: each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backnorm.testing.cases import LEVELS
from kernels import children

CHILDREN = Path(children.__file__)

STATUS = Path("/proc/self/status")

MOST_EXTRA = 4 << 20
"""What a call may take beyond its results: its parts' sums are 1 MiB at most, rounding up to huge
pages 2 MiB."""

MOST_SECONDS = 600
"""A process that hangs would hang for ever; none of these needs 5 s, or 50 under the sanitizers.
A busy machine may take several times as long."""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no os.fork")
needs_native = pytest.mark.skipif(not LEVELS, reason="the C++ part is not built")


def run(*arguments: str, **environment: str) -> list[str]:
    """Run one of the children, and return the lines it printed."""
    child = subprocess.Popen(
        [sys.executable, str(CHILDREN), *arguments],
        env=os.environ | environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        lines = child.communicate(timeout=MOST_SECONDS)[0].splitlines()
    except subprocess.TimeoutExpired:
        kill_family(child)
        raise
    assert child.returncode == 0
    return lines


def kill_family(child: subprocess.Popen[str]) -> None:
    """Kill a process that hangs, and those it has forked, which would hang on."""
    if hasattr(os, "killpg"):
        os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.communicate()


@needs_fork
def test_a_child_after_fork_gets_the_same_bits() -> None:
    """It does not wait for threads it has not got: it has one, its parent goes on with three."""
    parent, child, child_threads, after = run("fork")
    assert child == parent
    assert child_threads == "1"
    assert after == f"0 {3 if LEVELS else 1}"


@needs_fork
def test_fork_amid_other_calls_is_safe() -> None:
    """No lock that another thread held at the moment of the fork stays closed in the child."""
    assert run("fork_while_busy") == ["0"]


METHODS = ["spawn", pytest.param("fork", marks=needs_fork)]


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_of_processes_gets_the_same_bits(method: str) -> None:
    """Whether its processes are forked or started afresh."""
    here, there = run("pool", method)
    assert there == here


@needs_native
@pytest.mark.parametrize("count", ["1", "3"])
def test_the_environment_sets_the_number_of_threads(count: str) -> None:
    """OMP_NUM_THREADS holds until set_num_threads is called."""
    assert run("threads", OMP_NUM_THREADS=count) == [count]


@needs_native
@pytest.mark.parametrize("attempt", range(3))
def test_daemon_threads_do_not_disturb_the_end(attempt: int) -> None:
    """The interpreter ends while they compute: they stop where they are, and nothing aborts."""
    del attempt
    assert run("leave_daemons") == ["left"]


@needs_native
@pytest.mark.skipif(not STATUS.exists(), reason="this system does not tell what a process loads")
def test_no_library_of_openmp_is_loaded() -> None:
    """A second copy, beside that of a framework, would have a second pool of threads."""
    assert run("libraries") == [""]


@needs_native
@pytest.mark.parametrize(
    ("policy", "microseconds"), [("passive", "0"), ("Active", "10000"), ("", "50")]
)
def test_the_environment_sets_how_idle_threads_wait(policy: str, microseconds: str) -> None:
    """OMP_WAIT_POLICY, as for other libraries."""
    assert run("idle_spin", OMP_WAIT_POLICY=policy) == [microseconds]


@needs_native
def test_other_python_threads_run_during_a_call() -> None:
    """A call that keeps the GIL leaves room for a step or two; one that lets go, for many."""
    (steps,) = run("released")
    assert int(steps) >= children.ENOUGH_STEPS


@needs_native
@pytest.mark.skipif(not STATUS.exists(), reason="this system does not tell a process's peak memory")
@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
def test_a_call_takes_its_result_and_little_more(layout: str) -> None:
    """At most 4 MiB beyond y, and beyond dx, of 72 MiB each."""
    forward, backward = map(int, run("peak", layout))
    assert forward <= MOST_EXTRA, forward
    assert backward <= MOST_EXTRA, backward
