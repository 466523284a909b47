"""Whatever fails while a file is written, and whenever: there is the old file or the new, whole."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files._temporary import create
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KILLS = int(os.environ.get("BACKNORM_KILLS", "20"))
"""How often a writer is killed."""

STEPS = ("open", "fdopen", "fsync", "replace", "chmod", "fstat", "unlink", "close")
"""What the operating system is asked for; more than one of them fails where that follows."""


def model_of(path: Path, value: float) -> files.ModelFile:
    """A small model whose values are all the same."""
    values = np.full(3, value, np.float32)
    layer = files.NormLayer("bn", "torch", {"running_mean": values, "running_var": values})
    return files.ModelFile(path, "npz", (layer,))


def bytes_of(path: Path, value: float) -> bytes:
    """The bytes of such a model."""
    files.write(path, model_of(path, value))
    return path.read_bytes()


def in_a_child(run: Callable[[], None]) -> None:
    """Run in a forked process, whose limits and failures are its own."""
    child = os.fork()
    if not child:
        status = 1
        try:
            run()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_each_step_fails_at_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The n-th call of any of them, for every n."""
    path = tmp_path / "m.npz"
    new = bytes_of(path, 2)
    old = bytes_of(path, 1)
    failing, calls, failed = 0, 0, 0

    def counted(step: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == failing:
                raise OSError(5, "input/output error")
            return step(*arguments, **options)

        return call

    for name in STEPS:
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    while failing <= calls:
        failing, calls = failing + 1, 0
        path.write_bytes(old)
        try:
            files.write(path, model_of(path, 2))
        except FileError:
            failed += 1
        assert path.read_bytes() in (old, new)
    monkeypatch.undo()
    assert failed > len(STEPS) / 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of a process are of POSIX")
def test_the_disk_is_full_at_each_byte(tmp_path: Path) -> None:
    """No byte of the file, or all but the last: the old file stays, and nothing else."""
    path = tmp_path / "m.npz"
    size = len(bytes_of(path, 2))
    old = bytes_of(path, 1)

    def run() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for full in range(size):
            resource.setrlimit(resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
            with pytest.raises(FileError, match=r"m.npz cannot be written: "):
                files.write(path, model_of(path, 2))
            assert path.read_bytes() == old
            assert list(tmp_path.iterdir()) == [path]

    in_a_child(run)


ALLOCATIONS = """
import os, pathlib, sys, _testcapi
import numpy as np
from backnorm.convert import files

path = pathlib.Path(sys.argv[1])
models = []
for value in (1, 2):
    values = np.full(3, value, np.float32)
    layer = files.NormLayer("bn", "torch", {"running_mean": values, "running_var": values})
    models.append(files.ModelFile(path, "npz", (layer,)))
whole = []
for model in models:  # what is imported or cached at the first call is there
    files.write(path, model)
    whole.append(path.read_bytes())
sys.unraisablehook = lambda _: None
os.fsync = lambda _: None  # which takes most of the time
for failing in range(2000):
    path.write_bytes(whole[0])
    _testcapi.set_nomemory(failing, failing + 1)
    try:
        files.write(path, models[1])
    except Exception:  # Python and NumPy raise others than MemoryError too
        pass
    finally:
        _testcapi.remove_mem_hooks()
    assert path.read_bytes() in whole, failing
assert path.read_bytes() == whole[1]
"""
"""Python's own test hook lets the n-th allocation fail, for more n than such a write has."""


def test_memory_ends_at_each_allocation(tmp_path: Path) -> None:
    """The old file is there, or the new one."""
    pytest.importorskip("_testcapi", reason="this Python has no test hooks")
    command = [sys.executable, "-c", ALLOCATIONS, str(tmp_path / "m.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


WRITER = """
import sys, numpy as np
from backnorm.convert import files
models = []
for value in (1, 2):
    values = np.full(20_000, value, np.float32)
    layer = files.NormLayer("bn", "torch", {"running_mean": values, "running_var": values})
    models.append(files.ModelFile("m.npz", "npz", (layer,)))
print("ready", flush=True)
while True:
    for model in models:
        files.write(sys.argv[1], model)
"""


def test_a_writer_is_killed_at_any_moment(tmp_path: Path) -> None:
    """By a signal that no program can handle; the next writer removes what it has left."""
    path = tmp_path / "m.npz"
    rng = np.random.default_rng(12)
    for _ in range(KILLS):
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout
            writer.stdout.readline()
            time.sleep(float(rng.uniform(0, 0.05)))
            writer.kill()
        if path.exists():
            mean = files.read(path).layers[0].state["running_mean"]
            assert mean.size == 20_000
            assert (mean == mean[0]).all()
    files.write(path, model_of(path, 1))
    assert list(tmp_path.iterdir()) == [path]


def test_only_files_without_a_writer_are_removed(tmp_path: Path) -> None:
    """A file of another program, or of a writer that is alive, stays."""
    path = tmp_path / "m.npz"
    alive, opened = create(tmp_path, 0o600)
    stale = tmp_path / f".backnorm-{'0' * 16}.tmp"
    foreign = tmp_path / ".backnorm-notes.tmp"
    stale.touch()
    foreign.touch()
    link = tmp_path / f".backnorm-{'1' * 16}.tmp"
    link.symlink_to(foreign)
    with opened:
        files.write(path, model_of(path, 1))
        assert sorted(tmp_path.iterdir()) == sorted([alive, foreign, link, path])
    files.write(path, model_of(path, 1))
    assert sorted(tmp_path.iterdir()) == sorted([foreign, link, path])
