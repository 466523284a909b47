"""Findings that no specimen can have, and where each finding is made by a test."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backnorm.audit import audit
from backnorm.audit.findings import CATALOG, FAULTS
from backnorm.audit.specimens import SPECIMENS
from backnorm.audit.specimens.plain import Plain
from backnorm.audit.subjects.registry import as_subject
from backnorm.audit.subjects.runner import Runner

if TYPE_CHECKING:
    from backnorm._types import AnyArray

TESTS = Path(__file__).parent.parent

ELSEWHERE = {
    "G19": "with_torch/test_model_parameters.py",
    "G05": "audit/test_probes.py",
    "C01": "cli/test_lost_probes.py",
    "C02": "cli/test_lost_probes.py",
    "C03": "audit/test_blame.py",
    "G16": "audit/test_probes.py",
    "I06": "with_torch/test_own_modules.py",
    "R03": "with_torch/test_random.py",
    "S01": "with_torch/test_state.py",
    **{f"M0{number}": "with_torch/test_model_audit.py" for number in range(1, 9)},
    **dict.fromkeys(("M09", "M10", "M11", "M12"), "with_torch/test_model_faults.py"),
    **{f"L0{number}": "audit/test_onnx.py" for number in range(1, 7)},
    **{f"W0{number}": "with_torch/distributed/test_audit.py" for number in range(1, 8)},
    **dict.fromkeys(("Z01", "Z02"), "with_torch/test_model_faults.py"),
}
"""Findings that a NumPy pair cannot get, or about objects that are not pairs: the test of each."""


CALLS = itertools.count()


class Rounded(Plain):
    """y has two decimals."""

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> Any:
        """Return y and the cache."""
        y, cache = Plain.forward(x, gamma, beta)
        return np.round(y, 2), cache


class Scaled(Plain):
    """dx is a thousandth too large: no path is missing."""

    @staticmethod
    def backward(dy: AnyArray, cache: Any) -> Any:
        """Return dx, dgamma and dbeta."""
        dx, *others = Plain.backward(dy, cache)
        return dx * 1.001, *others


class Noisy(Plain):
    """dx has other last digits in each call."""

    @staticmethod
    def backward(dy: AnyArray, cache: Any) -> Any:
        """Return dx, dgamma and dbeta."""
        dx, *others = Plain.backward(dy, cache)
        noise = np.random.default_rng(next(CALLS)).integers(0, 2, dx.shape)
        return np.where(noise, np.nextafter(dx, np.zeros_like(dx)), dx), *others


RARE = {"G12": Scaled, "G15": Rounded, "R01": Noisy}


@pytest.mark.parametrize("code", RARE)
def test_a_pair_gets_it(code: str) -> None:
    """It is among the findings, and makes the verdict that its family makes."""
    record = audit(RARE[code])
    assert code in {finding.code for finding in record.findings}
    assert record.sound is {"G12": False, "G15": None, "R01": True}[code]
    assert bool(record.not_judged) == (code == "G15")


def test_another_result_with_two_threads_is_a_finding() -> None:
    """The runner says that it can choose the number of threads, and dx depends on it."""
    subject = as_subject(Plain)

    class ByThreads:
        """Computes dx with one thread, and with two the next number after it."""

        def __init__(self, threads: int = 0) -> None:
            self.threads = threads

        def forward(self, *arguments: Any) -> Any:
            return subject.runner.inner.forward(*arguments)

        def run(self, *arguments: Any) -> Any:
            run = subject.runner.inner.run(*arguments)
            return run | {"dx": np.nextafter(run["dx"], np.inf)} if self.threads > 1 else run

        def variant(self, _: str, threads: int, *__: object) -> ByThreads:
            return ByThreads(threads)

    record = audit(replace(subject, runner=Runner(ByThreads(), frozenset({"threads"}))))
    assert [finding.code for finding in record.findings] == ["R02"]
    assert record.sound


def test_every_finding_is_made_by_a_specimen_or_by_a_test() -> None:
    """A finding that nothing gets could be lost, and nobody would notice."""
    shown = {code for _, verdict in SPECIMENS.values() for code in verdict.codes}
    others = set(CATALOG) - shown - set(FAULTS) - RARE.keys() - {"R02"}
    assert others == ELSEWHERE.keys()
    for code, file in ELSEWHERE.items():
        assert f'"{code}"' in (TESTS / file).read_text(), code
