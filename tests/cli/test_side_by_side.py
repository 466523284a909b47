"""The layers of a list in several processes: the same records in order, and no leftovers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from backnorm.audit.record import Record
from backnorm.cli import _side_by_side
from backnorm.cli._crew import Crew
from backnorm.cli._progress import AuditJob, Stage
from backnorm.cli._side_by_side import Crews

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = ["a", "b", "c", "d", "e"]


class Script:
    """In place of the children: what the crews are asked, and when they answer."""

    def __init__(self) -> None:
        self.by: dict[str, Crew] = {}
        self.wait_for: dict[str, threading.Event] = {}
        self.done: dict[str, threading.Event] = {name: threading.Event() for name in NAMES}

    def audit(
        self, crew: Crew, job: AuditJob, at_work: Callable[[Stage], object], seconds: float
    ) -> Iterator[Record]:
        """Yield two records of a layer, once what it waits for has happened."""
        del seconds
        self.by[job.part] = crew
        at_work(Stage(job.part, "gradient", 0, 2))
        yield Record(job.part, "batch")
        if job.part in self.wait_for:
            assert self.wait_for[job.part].wait(60)
        yield Record(f"{job.part} (eval)", "batch")
        self.done[job.part].set()


@pytest.fixture(name="script")
def scripted(monkeypatch: pytest.MonkeyPatch) -> Script:
    """No child is started."""
    script = Script()
    monkeypatch.setattr(_side_by_side, "audit_job", script.audit)
    monkeypatch.setattr(_side_by_side, "names_in_list", lambda *_: NAMES)
    return script


def two() -> Crews:
    """Two crews."""
    return Crews([Crew(), Crew()])


def test_records_come_in_the_order_of_the_list(script: Script) -> None:
    """The first layer ends after all others, and its records come first all the same."""
    script.wait_for["a"] = script.done["e"]
    crews, told = two(), []
    parts = crews.parts_of(AuditJob("torch"), 1.0)
    records = list(crews.audit(parts, told.append, 1.0))
    assert [r.target for r in records] == [n for one in NAMES for n in (one, f"{one} (eval)")]
    assert len({id(script.by[name]) for name in NAMES}) == 2
    assert [stage.done for stage in told] == sorted(stage.done for stage in told)
    assert {stage.total for stage in told} == {5}
    assert {stage.name for stage in told} == set(NAMES)


def test_records_come_as_soon_as_they_can(script: Script) -> None:
    """The first record does not wait for the end of its layer."""
    script.wait_for["a"] = threading.Event()
    crews = two()
    records = crews.audit(crews.parts_of(AuditJob("torch"), 1.0), lambda _: None, 1.0)
    assert next(records).target == "a"
    script.wait_for["a"].set()
    assert len(list(records)) == 9


@pytest.mark.usefixtures("script")
def test_what_a_thread_raises_is_raised_to_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is begun then, and the crews are closed."""

    def broken(crew: Crew, job: AuditJob, *_: Any) -> Iterator[Record]:
        del crew
        if job.part == "b":
            raise ZeroDivisionError
        yield Record(job.part, "batch")

    monkeypatch.setattr(_side_by_side, "audit_job", broken)
    crews = two()
    with pytest.raises(ZeroDivisionError):
        list(crews.audit(crews.parts_of(AuditJob("torch"), 1.0), lambda _: None, 1.0))
    assert all(crew.closed for crew in crews.crews)


def test_a_caller_that_wants_no_more_ends_the_work(script: Script) -> None:
    """As Ctrl-C does: the crews are closed, and no layer is begun afterwards."""
    go_on = threading.Event()
    script.wait_for.update(a=go_on, b=go_on)
    crews = two()

    def stopping(_: Stage) -> None:
        if len(script.by) == 2:
            crews.stopped.set()
            go_on.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        for _ in crews.audit(crews.parts_of(AuditJob("torch"), 1.0), stopping, 1.0):
            pass
    assert all(crew.closed for crew in crews.crews)
    assert {*script.by} <= {"a", "b"}


@pytest.mark.parametrize(
    "job",
    [
        AuditJob("specimens"),
        AuditJob("layers.py:Norm"),
        AuditJob("torch", python="python3"),
        AuditJob("keras", environment={"KERAS_BACKEND": "jax"}),
    ],
    ids=lambda job: job.target,
)
def test_only_the_list_of_a_framework_here_is_shared(script: Script, job: AuditJob) -> None:
    """Others have one process, which holds what they have imported."""
    assert two().parts_of(job, 1.0) == []
    assert Crews([Crew()]).parts_of(AuditJob("torch"), 1.0) == []
    assert script.by == {}
