"""What loses its process in a later probe keeps its verdict, and the other probes run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backnorm.audit.probes import PROBES
from backnorm.cli._jobs import AuditJob, audit_jobs

if TYPE_CHECKING:
    from backnorm.audit.record import Record

FILE = Path(__file__).with_name("later.py")
ROUTES = {"in process": "", "under an interpreter": sys.executable}
SECONDS = 8.0
"""Limit where something hangs: a probe of the others takes a hundredth of it."""

LOST = {
    # name: (code, what was got)
    "Crashes": ("C01", "empty batch: signal SIGSEGV, last output: goodbye"),
    "Leaves": ("C01", "empty batch: exit status 7, last output: goodbye"),
    "Exits": ("C01", "empty batch: exit status 7, last output: goodbye"),
    "Aborts": ("C01", "empty batch: signal SIGABRT, last output: goodbye"),
    "Killed": ("C01", "empty batch: signal SIGKILL, last output: goodbye"),
    "Hangs": ("C02", "empty batch: no answer"),
}


def audited(name: str, route: str, *, quick: bool = False) -> list[Record]:
    """Audit a name in later.py, and a right pair after it."""
    targets = (f"{FILE}:{name}", f"{FILE.with_name('hosted.py')}:Right")
    jobs = [AuditJob(target, python=ROUTES[route], quick=quick) for target in targets]
    return list(audit_jobs(jobs, seconds=SECONDS if name in ("Hangs", "Everywhere") else 60.0))


@pytest.mark.sampled(3)
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", LOST)
def test_a_probe_that_loses_the_process_is_a_finding(name: str, route: str) -> None:
    """The verdict is that of --quick, all probes are there, and the next target is audited."""
    code, got = LOST[name]
    record, after = audited(name, route)
    (quick, _) = audited(name, route, quick=True)
    assert [found.code for found in record.findings] == ["G01", code]
    assert record.findings[1].got == got
    assert (record.sound, record.through) == (quick.sound, quick.through) == (False, "variance")
    assert record.audited
    assert [probe.code for probe in record.probes] == ["P01", *(probe.code for probe in PROBES)]
    results = {probe.code: probe for probe in record.probes}
    assert results["P46"].result == "fail"
    assert results["P90"].result == "pass"
    assert after.clean


@pytest.mark.sampled(2)
@pytest.mark.parametrize("route", ROUTES)
def test_several_probes_may_lose_the_process(route: str) -> None:
    """Each is a finding, and what comes after them is measured."""
    record, _ = audited("Often", route)
    lost = [found.got.partition(":")[0] for found in record.findings if found.code == "C01"]
    assert lost == ["large values", "precision, large means", "precision, scales"]
    assert record.sound
    assert not record.clean
    assert record.probes[-2].result == "pass"


@pytest.mark.sampled(2)
@pytest.mark.parametrize("route", ROUTES)
def test_what_hangs_in_every_probe_is_given_up(route: str) -> None:
    """After two of them the others are skipped, or an audit would take half an hour."""
    record, _ = audited("Everywhere", route)
    assert [found.code for found in record.findings] == ["C02", "C02"]
    assert record.probes[-1].what == "2 earlier probes did not finish in time"
    assert record.sound
