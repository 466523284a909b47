"""Targets under another interpreter: audited alike, and whatever they do, the others are too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
from click.testing import CliRunner

from backnorm.cli import main
from backnorm.cli._jobs import AuditJob, audit_jobs
from backnorm.cli._remote import installed
from backnorm.host import serve
from cli.processes import LIMIT, assert_gone, pids_in, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm.audit.record import Record

FILE = Path(__file__).with_name("hosted.py")
HEAD = len(serve.MARK) + 8
"""Bytes of a frame before its message."""


def audited(*names: str, seconds: float = 60.0) -> list[Record]:
    """Audit names in hosted.py in a host."""
    jobs = [AuditJob(f"{FILE}:{name}", python=sys.executable) for name in names]
    return list(audit_jobs(jobs, seconds=seconds))


def codes(records: list[Record]) -> list[list[str]]:
    """Codes of the findings, record after record."""
    return [[finding.code for finding in record.findings] for record in records]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """After each test no child of this process is left."""
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    yield
    after = psutil.Process().children(recursive=True)
    assert [process for process in after if process.pid not in before] == []


def test_nothing_of_backnorm_is_loaded_there() -> None:
    """An interpreter needs NumPy and what the target needs."""
    (record,) = audited("Alone")
    assert record.sound


def test_a_subject_may_bring_its_higher_derivatives() -> None:
    """What it says to them comes back from there."""
    (record,) = audited("Subject")
    told = {probe.code: probe.what for probe in record.probes}
    assert record.sound
    assert (
        told["P30"] == "it raises in place of a derivative: NotImplementedError: 1 beyond the first"
    )
    assert (
        told["P31"] == "it raises in place of a derivative: NotImplementedError: 2 beyond the first"
    )


LOST = {
    # name: (code, what was got)
    "Crashes": ("G25", "signal SIGSEGV, last output: goodbye"),
    "Exits": ("G25", "exit status 7"),
    "WrongY": ("G23", "(1, 3)"),
    "WrongDx": ("G23", "(3,)"),
    "NoArray": ("G23", "set"),
    "Raises": ("G20", "ArithmeticError: no such thing"),
    "Traces": ("G20", "LookupError: KeyError: no operator"),
    "Scribbles": ("G25", "bytes that are not a message"),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", LOST)
def test_one_that_is_lost_is_reported_and_the_others_audited(name: str) -> None:
    """Its record says how it was lost; the ones before and after get their verdicts."""
    code, got = LOST[name]
    records = audited("Cut", name, "Right")
    assert codes(records) == [["G01"], [code], []]
    assert [record.audited for record in records] == [True, False, True]
    assert records[1].findings[0].got == got


def test_one_that_hangs_is_given_up_and_nothing_is_left_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within its time, with the process that it started."""
    pids = tmp_path / "pids"
    monkeypatch.setenv("BACKNORM_TEST_PIDS", str(pids))
    records = audited("Hangs", "Right", seconds=LIMIT)
    assert codes(records) == [["G21"], []]
    assert records[0].findings[0].expected == f"an answer within {LIMIT:g} s"
    started = pids_in(pids)
    assert len(started) == 2
    assert_gone(started)


def test_100_megabytes_on_stdout_change_nothing() -> None:
    """They look like answers, and are none."""
    (record,) = audited("Loud")
    assert record.sound


def test_a_host_ends_when_the_command_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command cannot say goodbye; child and host notice that it is gone."""
    pids = tmp_path / "pids"
    monkeypatch.setenv("BACKNORM_TEST_PIDS", str(pids))
    words = ["-m", "backnorm", "audit", f"{FILE}:Hangs", "--python", sys.executable]
    command = subprocess.Popen([sys.executable, *words])
    assert wait_until(lambda: len(pids_in(pids)) == 2)
    children = [process.pid for process in psutil.Process(command.pid).children(recursive=True)]
    command.send_signal(signal.SIGKILL)
    command.wait()
    assert len(children) >= 3
    assert_gone(children)


def run(*arguments: str) -> tuple[int, str, str]:
    """Run backnorm audit."""
    result = CliRunner().invoke(main, ["audit", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_takes_an_interpreter() -> None:
    """Status 2 for one that is lost, the others in the JSON, and the versions of where they ran."""
    targets = [f"{FILE}:{name}" for name in ("Right", "Crashes", "Cut")]
    status, out, _ = run(*targets, "--python", sys.executable, "--json", "-")
    document = json.loads(out)
    assert status == 2
    assert [t["sound"] for t in document["targets"]] == [True, None, False]
    assert document["environment"]["numpy"] == np.__version__


def test_the_command_takes_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--limit is how long one target may take."""
    monkeypatch.setenv("BACKNORM_TEST_PIDS", str(tmp_path / "pids"))
    status, out, _ = run(f"{FILE}:Hangs", "--python", sys.executable, "--limit", "3", "-v")
    assert status == 2
    assert "an answer within 3 s" in out


REFUSED = {
    "NotThere": ("G27", "no NotThere in hosted"),
    "NOT_A_LAYER": ("G26", "int"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_target_is_told(name: str) -> None:
    """As in the child that has backnorm."""
    records = audited(name)
    code, got = REFUSED[name]
    assert codes(records) == [[code]]
    assert records[0].findings[0].got == got


def test_an_interpreter_that_is_none_is_refused() -> None:
    """By its name at once, and where it does not work by a record."""
    status, out, words = run("engine", "--python", "no-such-python")
    assert (status, out) == (2, "")
    assert "'no-such-python' is not a program. " in words
    status, out, words = run("engine", "--python", "/bin/true")
    assert (status, out) == (2, "")
    assert "/bin/true is not a Python. It did not tell its version (exit status 0)." in words
    status, out, words = run("engine", "--python", "")
    assert (status, out) == (2, "")
    assert "'' is not a program. " in words


INTERPRETERS = {
    # what it does: the lines of the interpreter, and the message
    "no NumPy": (
        "echo 'Python 3.9'; echo \"No module named 'numpy'\" >&2; exit 1",
        (
            "cannot import NumPy: No module named 'numpy'. The audit sends arrays to the targets "
            "that it runs. Install NumPy there: {path} -m pip install numpy\n"
        ),
    ),
    "too old": (
        "echo 'Python 2.7'",
        "is too old: it is Python 2.7. Targets run under Python 3.6 or newer.",
    ),
}


@pytest.mark.parametrize("name", INTERPRETERS)
def test_an_interpreter_that_cannot_run_targets_is_refused_in_one_line(
    name: str, tmp_path: Path
) -> None:
    """Before the audit, with the reason and the command that helps."""
    script, message = INTERPRETERS[name]
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    status, out, words = run("engine", "--python", str(path))
    assert (status, out) == (2, "")
    assert f"{path} {message.format(path=path)}" in words
    assert "Traceback" not in words


def test_an_interpreter_without_numpy_is_refused(tmp_path: Path) -> None:
    """A virtual environment in which nothing is installed."""
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    status, out, words = run("engine", "--python", str(python))
    assert (status, out) == (2, "")
    assert words.endswith(f"Install NumPy there: {python} -m pip install numpy\n")
    assert "ModuleNotFoundError: No module named 'numpy'" in words


def test_a_module_that_the_interpreter_lacks_is_told_with_the_command(tmp_path: Path) -> None:
    """Which module, which interpreter, and how to install it there."""
    file = tmp_path / "mine.py"
    file.write_text("import a_module_that_nobody_has.part\n")
    for python in ("", sys.executable):
        (record,) = audit_jobs([AuditJob(f"{file}:Norm", python=python)])
        (found,) = record.findings
        assert found.code == "G27"
        assert f"{sys.executable} -m pip install a_module_that_nobody_has or" in found.remedy
        assert found.causes[0] == "a_module_that_nobody_has is not installed in that interpreter"


TOLD_APART = {
    "Forward": "it has forward, but not backward",
    "": "it is a whole file or module",
    "Nothing": "returned None in place of (dx, dgamma, dbeta)",
    "NoTuple": "returned a tuple of 3 in place of (y, cache)",
    "Raises": "raised in its forward pass (",
}


@pytest.mark.parametrize("name", TOLD_APART)
def test_the_reason_is_the_same_in_both_places(name: str) -> None:
    """Here and in another process: what, causes, remedy."""
    target = f"{FILE}:{name}" if name else str(FILE)
    records = [next(audit_jobs([AuditJob(target, python=p)])) for p in ("", sys.executable)]
    here, there = (record.findings for record in records)
    assert here == there
    assert TOLD_APART[name] in here[0].what


def test_a_framework_that_the_interpreter_lacks_is_told() -> None:
    """A framework's name is a target there too."""
    (record,) = audit_jobs([AuditJob("mxnet", python=sys.executable)])
    assert record.findings[0].code == "G27"
    assert "mxnet" in record.findings[0].got


def test_packages_are_looked_for_without_import() -> None:
    """What an interpreter has."""
    assert installed(sys.executable, ["numpy", "no_such_package"], 60.0) == ("numpy",)


MESSAGES = {
    "numbers and texts": {"a": [1, 2.5, "x", None, True]},
    "tuples": {"a": (1, [2, (3.5,)], ())},
    "arrays": {"x": np.arange(6.0).reshape(2, 3), "y": [np.float32(2.0), np.zeros((0, 3))]},
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_survives_the_pipe(name: str) -> None:
    """Bytes there and back, formats and shapes too."""
    message = MESSAGES[name]
    reading, writing = os.pipe()
    os.write(writing, serve.pack(message))
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        got = serve.read_frame(pipe)
        assert serve.read_frame(pipe) is None
    assert repr(got) == repr(message).replace("np.float32(2.0)", "array(2., dtype=float32)")


ORDERS = {
    # name: an array that is 2 by 3 by 4 in another order
    "transposed": np.arange(24.0).reshape(4, 3, 2).T,
    "moved": np.moveaxis(np.arange(24.0).reshape(2, 4, 3), -1, 1),
    "repeated": np.broadcast_to(np.arange(12.0).reshape(1, 3, 4), (2, 3, 4)),
}


@pytest.mark.parametrize("name", ORDERS)
def test_an_array_keeps_its_order_in_memory(name: str) -> None:
    """Its strides are the same; where it repeats itself, too."""
    array = ORDERS[name]
    got = serve.unpack(serve.pack({"x": array})[HEAD:])["x"]
    assert got.strides == array.strides
    assert np.array_equal(got, array)


def test_an_array_with_gaps_arrives_without_them() -> None:
    """Its values lie side by side."""
    array = np.arange(48.0).reshape(2, 3, 8)[..., ::2]
    got = serve.unpack(serve.pack({"x": array})[HEAD:])["x"]
    assert got.flags.c_contiguous
    assert np.array_equal(got, array)


def test_a_child_that_is_sent_nonsense_ends() -> None:
    """It could not be asked anything more, and would wait for ever."""
    child = subprocess.run(
        [sys.executable, serve.__file__],
        input=b"\0\0\0\0\0\0\0\6scribe",
        timeout=300,
        check=True,
        capture_output=True,
    )
    assert child.stdout == b""


def test_what_is_no_array_keeps_its_name() -> None:
    """Nothing else of it crosses the pipe."""
    got = serve.unpack(serve.pack({"y": {1, 2}})[HEAD:])
    assert type(got["y"]).__name__ == "set"
