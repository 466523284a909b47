"""New files: no array takes another's place, and nothing but a file is replaced."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files.registry import format_of
from backnorm.dialects import DIALECTS
from backnorm.errors import FileError
from files import models

if TYPE_CHECKING:
    from pathlib import Path

C = 3

LAYER = {name: np.ones(C, np.float32) for name in ("gamma", "beta")} | {
    name: np.ones(C, np.float32) for name in ("moving_mean", "moving_variance")
}


def keras_model(path: Path, **others: np.ndarray) -> files.ModelFile:
    """One layer in Keras's names, and others."""
    return files.ModelFile(path, "npz", (files.NormLayer("bn", "keras", LAYER),), others)


@pytest.mark.parametrize("format_", models.NEW)
def test_a_name_that_a_layers_array_has_is_refused(format_: str, tmp_path: Path) -> None:
    """A second layer's array, or another array, would silently replace what was converted."""
    models.need_new(format_)
    path = models.new_file(tmp_path, format_)
    dialect = format_of(path).dialects[0]
    model = keras_model(tmp_path / "k.npz")
    converted, _ = files.convert_model(model, path, dialect, n=9)
    twice = rf"^{path.name}, (.*) would be the name of two arrays"
    with pytest.raises(FileError, match=twice) as refused:
        files.write(path, replace(converted, layers=converted.layers * 2))
    (name,) = re.findall(twice, str(refused.value))
    with pytest.raises(FileError, match=rf"^{path.name}, {name} would be the name of two"):
        files.write(path, replace(converted, others={name: np.zeros(C, np.float32)}))
    assert not path.exists()


def test_an_array_that_has_the_name_of_an_initializer_is_refused(tmp_path: Path) -> None:
    """An ONNX model names its inputs, outputs and initializers alike."""
    models.need("onnx")
    model = keras_model(tmp_path / "k.npz", **{"bn.scale": np.zeros(C, np.float32)})
    path = tmp_path / "out.onnx"
    converted, _ = files.convert_model(model, path, "onnx")
    with pytest.raises(FileError, match=r"bn.scale would be the name of two"):
        files.write(path, converted)


@pytest.mark.parametrize("name", ["file", "args", "kwds", "allow_pickle", "a/b", "a.npy"])
def test_an_array_may_have_any_name_in_an_npz(name: str, tmp_path: Path) -> None:
    """Also one that is an argument of np.savez."""
    path = tmp_path / "out.npz"
    values = np.arange(6.0).reshape(2, 3).T
    files.write(path, keras_model(path, **{name: values}))
    np.testing.assert_array_equal(files.read(path).others[name], values, strict=True)


def test_an_array_of_objects_is_refused(tmp_path: Path) -> None:
    """The reader would refuse it: it takes pickle."""
    path = tmp_path / "out.npz"
    with pytest.raises(FileError, match=r"^out.npz, a could run code when it is read: an array"):
        files.write(path, keras_model(path, a=np.array([None])))


@pytest.mark.parametrize("name", ["../x", "a/../x", "/x", "\\x", "..\\x", "C:x"])
def test_a_member_that_the_reader_refuses_is_not_written(name: str, tmp_path: Path) -> None:
    """What is written can be read."""
    path = tmp_path / "out.npz"
    with pytest.raises(FileError, match=r"^out.npz, member leads out of the file's folder"):
        files.write(path, keras_model(path, **{name: np.zeros(C)}))
    assert not path.exists()


def test_a_link_is_followed(tmp_path: Path) -> None:
    """To a file in another folder, and to one that is not there yet."""
    (tmp_path / "there").mkdir()
    for name in ("old.npz", "new.npz"):
        target, link = tmp_path / "there" / name, tmp_path / name
        link.symlink_to(target)
        if name == "old.npz":
            target.write_bytes(b"old")
        files.write(link, keras_model(link))
        assert link.is_symlink()
        assert files.read(target).layers[0].name == "bn"
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["new.npz", "old.npz"]


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    """It leads nowhere."""
    path = tmp_path / "out.npz"
    path.symlink_to(path)
    with pytest.raises(FileError, match=r"out.npz cannot be written"):
        files.write(path, keras_model(path))
    assert path.is_symlink()


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """A rename would put a file in the place of a device."""
    pipe, folder = tmp_path / "pipe.npz", tmp_path / "folder.npz"
    os.mkfifo(pipe)
    folder.mkdir()
    for path, kind in ((pipe, "a pipe"), (folder, "a directory")):
        with pytest.raises(FileError, match=rf"^{path.name} is {kind}, not a regular file"):
            files.write(path, keras_model(path))
    assert pipe.is_fifo()
    assert sorted(tmp_path.iterdir()) == [folder, pipe]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_the_old_files_permissions_are_kept(mode: int, tmp_path: Path) -> None:
    """What was private stays private."""
    path = tmp_path / "out.npz"
    path.write_bytes(b"old")
    path.chmod(mode)
    files.write(path, keras_model(path))
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert files.read(path).layers[0].name == "bn"


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name.startswith("onnx-")])
def test_an_onnx_file_has_the_opset_of_its_dialect(dialect: str, tmp_path: Path) -> None:
    """Whose operator is the one that was asked for, and onnx itself finds nothing wrong."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed; make test has it")
    path = tmp_path / "out.onnx"
    converted, _ = files.convert_model(keras_model(path), path, dialect)
    files.write(path, converted)
    whole = onnx.load(path)
    onnx.checker.check_model(whole, full_check=True)
    assert [f"onnx-{entry.version}" for entry in whole.opset_import] == [dialect]
    assert files.read(path).layers[0].dialect == dialect


def writers(path: Path) -> str:
    """A program that writes one file again and again, with a million ones or twos."""
    return (
        "import sys, time, numpy as np\n"
        "from backnorm.convert import files\n"
        "c = np.full(100_000, int(sys.argv[1]), np.float32)\n"
        "layer = files.NormLayer('bn', 'torch', {'running_mean': c, 'running_var': c})\n"
        "end = time.monotonic() + 1.5\n"
        "while time.monotonic() < end:\n"
        f"    files.write({str(path)!r}, files.ModelFile('t.npz', 'npz', (layer,)))\n"
    )


def test_writers_of_one_file_never_tear_it(tmp_path: Path) -> None:
    """Four processes write, and each reading finds a whole file of one of them."""
    path = tmp_path / "t.npz"
    files.write(path, files.ModelFile(path, "npz", (one_layer(1),)))
    commands = [[sys.executable, "-c", writers(path), str(value)] for value in range(1, 5)]
    running = [subprocess.Popen(command) for command in commands]
    while any(process.poll() is None for process in running):
        mean = files.read(path).layers[0].state["running_mean"]
        assert mean.size
        assert (mean == mean[0]).all()
    assert [process.returncode for process in running] == [0] * 4
    assert list(tmp_path.iterdir()) == [path]


def test_threads_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    """Each has a temporary file that was not there."""
    path = tmp_path / "t.npz"
    model = files.ModelFile(path, "npz", (one_layer(1),))
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(files.write, path, model) for _ in range(200)]:
            done.result()
    assert list(tmp_path.iterdir()) == [path]


def one_layer(value: float) -> files.NormLayer:
    """A layer whose values are all the same."""
    values = np.full(C, value, np.float32)
    return files.NormLayer("bn", "torch", {"running_mean": values, "running_var": values})


@pytest.mark.parametrize("error", [OSError("no"), KeyboardInterrupt(), SystemExit(143)])
@pytest.mark.parametrize("step", ["open", "fdopen", "fsync"])
def test_the_old_file_is_whole_whichever_step_fails(
    step: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the temporary one is gone, also after Ctrl-C."""
    path = tmp_path / "out.npz"
    path.write_bytes(b"old")
    model = keras_model(path)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises((FileError, type(error))):
        files.write(path, model)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_folder_is_synchronized_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is on the disk too; where that fails, the error says that the file was written."""
    path = tmp_path / "out.npz"
    synchronized = []

    def fsync(number: int) -> None:
        synchronized.append(stat.S_ISDIR(os.fstat(number).st_mode))
        if synchronized[-1]:
            assert path.exists()
            raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(FileError, match=r"out.npz has been written, but its folder cannot be syn"):
        files.write(path, keras_model(path))
    assert synchronized == [False, True]
    assert files.read(path).layers[0].name == "bn"


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    """As a file that is opened for writing has."""
    path, plain = tmp_path / "out.npz", tmp_path / "plain"
    plain.touch()
    files.write(path, keras_model(path))
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.parametrize("name", ["n" * 251 + ".npz", "größe 数.npz"])
def test_a_name_of_any_length_has_a_temporary_file(name: str, tmp_path: Path) -> None:
    """Its name is not made from the file's, which may be as long as the system allows."""
    path = tmp_path / name
    files.write(path, keras_model(path))
    assert path.exists()
