"""What a command does when stdout does not take its result, and when it is told to end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backnorm.cli._output import ended_by_signals, paper

GLUON = Path(__file__).parents[1] / "dialects/goldens/mxnet_params/gluon.params"

BASH = shutil.which("bash") or "bash"

COMMANDS = {
    "convert": ["convert", str(GLUON), "o.npz", "--to", "flax"],
    "dialects": ["dialects", "torch"],
    "env": ["env"],
    "inspect": ["inspect", str(GLUON)],
    "audit": ["audit", "engine", "--quick"],
    "bench": ["bench", "--suite", "small", "--layout", "nchw", "--rounds", "1", "--peers", "''"],
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("how", [">/dev/full", ">&-", "| true"])
def test_a_result_that_cannot_be_printed_is_a_failure(
    command: str, how: str, tmp_path: Path
) -> None:
    """Status 2 and one line; the file of convert is written by then."""
    if how == ">/dev/full" and not Path("/dev/full").exists():
        how = ">&-"
    words = " ".join([sys.executable, "-m", "backnorm", *COMMANDS[command]])
    script = f"set -o pipefail; (sleep 0.1; {words}) {how}"
    done = subprocess.run(
        [BASH, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if "cannot be printed" in line]
    assert len(errors) == 1
    assert errors[0].startswith("Error: the result cannot be printed: ")
    assert done.stderr.splitlines()[-1] == errors[0]
    assert (tmp_path / "o.npz").exists() == (command == "convert")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_told_to_end_leaves_no_temporary_file(
    number: signal.Signals, tmp_path: Path
) -> None:
    """While it waits for the disk the process gets a signal; the old file is whole."""
    program = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background\n"
        "os.fsync = lambda _: (print('writing', flush=True), time.sleep(30))\n"
        "from backnorm.cli import main\n"
        f"main(['convert', {str(GLUON)!r}, 'o.npz', '--to', 'flax'])\n"
    )
    (tmp_path / "o.npz").write_bytes(b"old")
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=tmp_path, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "writing\n"
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode
    assert [path.name for path in tmp_path.iterdir()] == ["o.npz"]
    assert (tmp_path / "o.npz").read_bytes() == b"old"


def test_a_command_that_is_told_to_end_leaves_by_an_exception() -> None:
    """So that what is unfinished is cleared away; afterwards the signal means what it meant."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit, match="143"), ended_by_signals():  # noqa: PT012 - it waits
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("columns", "width"), [("200", 200), ("60", 60), (None, 120), ("wide", 120)]
)
def test_a_pipe_has_as_many_columns_as_the_variable_says(
    monkeypatch: pytest.MonkeyPatch, columns: str | None, width: int
) -> None:
    """Without a number in COLUMNS it has 120; it has no colors."""
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    assert paper() == (width, False)
