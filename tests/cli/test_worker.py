"""The child's side: what it answers to a job."""

from __future__ import annotations

import sys
import time
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backnorm.cli import _worker
from backnorm.cli._worker import _answer, _AtWork
from backnorm.host.calls import FRAMEWORKS
from backnorm.host.versions import environment

if TYPE_CHECKING:
    from pathlib import Path


def answers(**job: Any) -> list[dict[str, Any]]:
    """Return what the child says to a job."""
    said: list[dict[str, Any]] = []
    usual = {
        "kind": None,
        "axes": "",
        "arguments": None,
        "modes": "both",
        "skip": 0,
        "seconds": 60.0,
        "quick": True,
        "known": None,
        "control": False,
        "program": (),
        "lists": False,
        "place": None,
        "python": "",
        "model": False,
        "environment": {},
        "device": "",
        "ranks": 0,
    }
    _answer({**usual, **job}, said.append)
    return said


def test_all_subjects_are_named_before_the_first_is_begun() -> None:
    """So that the parent knows whom it lost."""
    first, *others = answers(target="engine")
    names = ["backnorm.batch_norm", "backnorm.batch_norm (frozen)"]
    assert first == {"subjects": [[name, "batch"] for name in names]}
    assert [next(iter(one)) for one in others] == ["starting", "probing", "record"] * 2 + ["done"]


def test_subjects_that_are_done_are_skipped() -> None:
    """A new child goes on where the lost one was."""
    said = answers(target="engine", skip=1)
    records = [one["record"]["target"] for one in said if "record" in one]
    assert records == ["backnorm.batch_norm (frozen)"]
    assert len(said[0]["subjects"]) == 2


def test_a_target_that_is_none_has_one_record() -> None:
    """Without subjects, and with the finding that says why."""
    record, done = answers(target="engin")
    assert [finding["code"] for finding in record["record"]["findings"]] == ["G27"]
    assert done == {"done": True, "environment": environment(FRAMEWORKS)}


def test_the_child_tells_the_versions_of_what_its_targets_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of frameworks alone: the version in the module, or else the one that was installed."""
    for name, version in {"tinygrad": None, "chainer": None, "caffe": "7.7", "flx": "8"}.items():
        module = ModuleType(name)
        if version is not None:
            module.__version__ = version  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    installed = tmp_path / "tinygrad-6.5.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: tinygrad\nVersion: 6.5\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    told = answers(target="engine", skip=2)[-1]["environment"]
    assert told["numpy"] == np.__version__
    assert (told["tinygrad"], told["caffe"]) == ("6.5", "7.7")
    assert not {"chainer", "flx"} & set(told)


@pytest.mark.parametrize(
    ("later", "said"),
    [
        ({("process", 1)}, ""),
        (
            {("process", 1), ("process", 2)},
            "It left 1 process running, which the audit ended.",
        ),
    ],
)
def test_what_ends_by_itself_was_not_left(
    later: set[tuple[str, int]], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command of a shell goes on for a moment after its last byte has been read."""
    seen = iter([(7, {("process", 1)}), (7, {("process", 1), ("process", 2)}), (7, later)])
    monkeypatch.setattr(_worker, "_running", lambda: next(seen))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    at_work = _AtWork()
    at_work.begin()
    assert at_work.left() == said
