"""From the text of a target to subjects."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backnorm.audit.specimens import SPECIMENS
from backnorm.audit.subjects.request import AuditRequest
from backnorm.cli._jobs import AuditJob, audit_jobs
from backnorm.cli._targets import find_subjects, is_installed
from backnorm.errors import NotInstalledError, SubjectError

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
FILE = HERE / "targets.py"
PLAIN = "backnorm.audit.specimens.plain"

GOOD = {
    "engine": 2,
    "specimens": len(SPECIMENS),
    f"{PLAIN}:Plain": 1,
    f"{PLAIN}.Plain": 1,
    "backnorm.audit.specimens:plain.Plain": 1,
    f"{FILE}:Right": 1,
}


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test imports from files is forgotten after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in ("targets", "broken", "target_json"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("target", GOOD)
def test_a_target_becomes_subjects(target: str) -> None:
    """Own targets, a name in a module in both spellings, and a name in a file."""
    subjects = find_subjects(target, AuditRequest())
    assert len(subjects) == GOOD[target]
    if ":" in target or "." in target:
        assert [subject.name for subject in subjects] == [target]


BAD = {
    # target: what was got, nearest names
    f"{PLAIN}:Plane": (f"no Plane in {PLAIN}", "Did you mean Plain?"),
    f"{PLAIN}.plain": (f"no plain in {PLAIN}", "Did you mean Plain?"),
    "backnorm.audi.engine": ("no audi in backnorm", "Did you mean audit?"),
    "jsonn:loads": ("no module jsonn", "Did you mean json"),
    "engin": ("no module engin", "Did you mean engine?"),
    "specimen": ("no module specimen", "Did you mean specimens?"),
    f"{HERE}/target.py:Right": (f"no file {HERE}/target.py", "Did you mean targets.py?"),
    f"{HERE}/broken.py:X": (
        "ModuleNotFoundError: No module named 'a_module_that_nobody_has'",
        "Install it there, with ",
    ),
}


@pytest.mark.parametrize("target", BAD)
def test_a_target_that_does_not_import_says_why(target: str) -> None:
    """What was missing, and the nearest names."""
    got, advice = BAD[target]
    with pytest.raises(SubjectError, match=r"^Cannot import ") as caught:
        find_subjects(target, AuditRequest())
    assert caught.value.code == "G27"
    assert caught.value.got == got
    assert caught.value.advice.startswith(advice.rstrip("?"))


OTHER_FILES = {
    "./mine": "a program, not a Python file",
    "mine": "a program, not a Python file",
    "mine:norm": "a program, not a Python file",
    "./libnorm.so:norm": "a shared library, not a Python file",
    "norm.hpp": "not a Python file",
    "./norm.hpp:Norm": "not a Python file",
    "./nothing": "no file ./nothing",
    "here/nothing.hpp": "no file here/nothing.hpp",
}


@pytest.mark.parametrize("target", OTHER_FILES)
def test_a_file_that_is_not_python_is_told(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as a module that is not there, nor as one whose code raises."""
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "libnorm.so", "norm.hpp"):
        (tmp_path / name).touch(mode=0o644 if name == "norm.hpp" else 0o755)
    with pytest.raises(SubjectError, match=r"^Cannot import ") as caught:
        find_subjects(target, AuditRequest())
    assert (caught.value.code, caught.value.got) == ("G27", OTHER_FILES[target])


def test_a_module_goes_before_a_file_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program named json hides no module."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json").touch(mode=0o755)
    with pytest.raises(SubjectError, match=r"no Norm in json"):
        find_subjects("json:Norm", AuditRequest())


def test_a_target_that_is_no_layer_is_refused() -> None:
    """It imports, and is nothing that can be audited."""
    with pytest.raises(SubjectError, match=r"its type is int") as caught:
        find_subjects(f"{FILE}:NOT_A_LAYER", AuditRequest())
    assert caught.value.code == "G26"


def test_a_file_is_imported_once() -> None:
    """Two targets in one file are of one module."""
    first, second = (
        find_subjects(f"{FILE}:{name}", AuditRequest())[0] for name in ("Right", "Cut")
    )
    assert first.runner.inner.pair.__module__ == second.runner.inner.pair.__module__
    assert sys.modules[first.runner.inner.pair.__module__].Right is first.runner.inner.pair


def test_a_file_may_have_the_name_of_a_module(tmp_path: Path) -> None:
    """A file named json.py is loaded under another name."""
    (tmp_path / "json.py").write_text(FILE.read_text())
    (subject,) = find_subjects(f"{tmp_path / 'json.py'}:Right", AuditRequest())
    assert subject.runner.inner.pair.__module__ == "target_json"
    assert sys.modules["json"] is json


@pytest.mark.parametrize("python", ["", sys.executable], ids=["in process", "under python"])
def test_files_beside_a_target_hide_no_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    """The folder of a target goes last on sys.path, and so does the current one."""
    (tmp_path / "secrets.py").write_text("raise SystemExit('not the library')")
    (tmp_path / "beside.py").write_text("FACTOR = 1.0")
    text = (HERE / "hosted.py").read_text()
    imports = "from __future__ import annotations\nimport beside, secrets\nsecrets.token_hex()\n"
    (tmp_path / "mine.py").write_text(text.replace("from __future__ import annotations\n", imports))
    monkeypatch.chdir(tmp_path)
    jobs = [AuditJob(t, python=python, quick=True) for t in ("mine.py:Right", "mine:Right")]
    assert [record.clean for record in audit_jobs(jobs)] == [True, True]


def test_installed_is_told_without_import() -> None:
    """A package is looked for, not loaded."""
    assert is_installed("numpy")
    assert not is_installed("a_module_that_nobody_has")


def test_a_framework_that_is_missing_cannot_be_audited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for by name, it is a target that does not import, with what to install."""

    def missing(framework: str, *_: object, **_options: object) -> None:
        raise NotInstalledError.package(framework, framework, f"backnorm.{framework}")

    monkeypatch.setattr("backnorm.cli._targets.layers_of", missing)
    with pytest.raises(SubjectError, match=r"pip install 'backnorm\[torch\]'") as caught:
        find_subjects("torch", AuditRequest())
    assert caught.value.code == "G27"
