"""The negative control: a dx that is known to be cut is recognized around any subject."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from audit.pairs import AXES, Law, Wave, column
from backnorm.audit.specimens.control import controls_of
from backnorm.audit.specimens.cut import MeanCut
from backnorm.audit.specimens.other_kinds import Over
from backnorm.audit.specimens.plain import Plain
from backnorm.audit.specimens.running import RunningStatistics
from backnorm.audit.subjects.registry import as_subject
from backnorm.cli import main

if TYPE_CHECKING:
    from backnorm.audit.record import Record

HOSTED = Path(__file__).parents[1] / "cli" / "hosted.py"
ROUTES = {"in process": (), "under an interpreter": ("--python", sys.executable)}


def controlled(candidate: Any, seed: int = 0) -> list[Record]:
    """Make all controls of an object."""
    found = controls_of(as_subject(candidate))
    return [control.record(lambda _: None, seed=seed) for control in found]


WITH_MEAN = ["none", "mean", "variance"]

SUBJECTS = {
    "a pair": (Plain, WITH_MEAN),
    "a wrong pair": (MeanCut, WITH_MEAN),
    "another law": (Law(ddof=1, eps=0.1, outside=True), WITH_MEAN),
    "|gamma|": (Law(gamma_law=abs), WITH_MEAN),
    "evaluation": (RunningStatistics(training=False), WITH_MEAN),
    "layer": (Over("layer"), WITH_MEAN),
    "group": (Over("group", groups=2), WITH_MEAN),
    "instance": (Over("instance"), WITH_MEAN),
    "rms": (Over("rms"), ["none", "both"]),
}


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_each_control_is_recognized(name: str, seed: int) -> None:
    """D, D + M and D + V give none, mean and variance, whatever the own gradient is."""
    candidate, paths = SUBJECTS[name]
    records = controlled(candidate, seed)
    assert [record.through for record in records] == paths
    assert all(record.as_expected() for record in records)


def test_only_a_right_dx_is_sound() -> None:
    """With constants D is the derivative; without a mean D + V is."""
    frozen = controlled(RunningStatistics(training=False))
    assert [record.sound for record in frozen] == [True, False, False]
    assert [record.sound for record in controlled(Over("rms"))] == [False, True]
    assert [record.sound for record in controlled(Plain)] == [False] * 3


class Bent:
    """Evaluation, then relu: most rows are cut off, or are not."""

    def __init__(self) -> None:
        """Keep the normalization."""
        self.inner = RunningStatistics(training=False)

    def forward(self, x: Any, gamma: Any, beta: Any) -> Any:
        """Return y and the cache."""
        u, cache = self.inner.forward(x, gamma, beta)
        return np.maximum(u, 0), (u > 0, cache)

    def backward(self, dy: Any, cache: Any) -> Any:
        """Return dx, dgamma, dbeta."""
        return self.inner.backward(dy * cache[0], cache[1])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_activation_behind_constants_is_no_hindrance(seed: int) -> None:
    """D is right and sound, whichever rows relu leaves."""
    records = controlled(Bent(), seed)
    assert all(record.as_expected() for record in records)
    assert [record.sound for record in records] == [True, False, False]


class WrongGamma(Plain):
    """dgamma is doubled."""

    @staticmethod
    def backward(dy: Any, cache: Any) -> Any:
        """Return dx, dgamma, dbeta."""
        dx, dgamma, dbeta = Plain.backward(dy, cache)
        return dx, 2 * dgamma, dbeta


def test_a_wrong_dgamma_is_no_matter_of_the_control() -> None:
    """It replaces dx alone; the finding about dgamma stays and is expected."""
    records = controlled(WrongGamma)
    assert [[found.code for found in record.findings] for record in records] == [
        ["G03", "G13"],
        ["G02", "G13"],
        ["G01", "G13"],
    ]
    assert all(record.as_expected() for record in records)


class OtherAxis(Law):
    """Normalizes over the positions alone, and is said to be batch normalization."""

    kind = "batch"

    def forward(self, x: Any, gamma: Any, beta: Any) -> Any:
        """Return y and the cache."""
        x_hat = (x - x.mean(AXES[1:], keepdims=True)) / x.std(AXES[1:], keepdims=True)
        return column(gamma) * x_hat + column(beta), (x_hat, gamma)


@pytest.mark.parametrize("candidate", [OtherAxis(), Wave()], ids=["other axes", "a sine"])
def test_a_harness_that_does_not_fit_is_not_proven(candidate: Any) -> None:
    """A wrong kind, or a bend in y: the paths cannot be recognized, and the control says so."""
    records = controlled(candidate)
    assert not any(record.as_expected() for record in records if record.audited)


def run(*arguments: str) -> tuple[int, str]:
    """Run backnorm audit."""
    result = CliRunner().invoke(main, ["audit", *arguments])
    return result.exit_code, result.stdout


@pytest.mark.parametrize("route", ROUTES)
def test_the_command_makes_controls(route: str) -> None:
    """The table says whether all came out, and so does the status."""
    status, out = run(f"{HOSTED}:Right", "--control", *ROUTES[route])
    assert status == 0
    assert "3 controls audited: 0 sound, 3 not sound. 3 of 3 got the expected verdict." in out
    assert all(f"dx = {paths}" in " ".join(out.split()) for paths in ("D", "D + M", "D + V"))
    status, out = run(f"{HOSTED}:Cut", "--control", "--json", "-", *ROUTES[route])
    assert status == 0
    assert [target["through"] for target in json.loads(out)["targets"]] == WITH_MEAN


@pytest.mark.sampled(2)
@pytest.mark.parametrize("route", ROUTES)
def test_the_status_tells_a_control_that_fails(route: str) -> None:
    """1 where one did not come out, 2 where it could not be made."""
    status, out = run(f"{HOSTED}:Right", "--control", "--kind", "instance", *ROUTES[route])
    assert status in (1, 2)
    assert "3 of 3" not in out
    assert run(f"{HOSTED}:Raises", "--control", *ROUTES[route])[0] == 2


def test_the_status_is_one_where_the_paths_are_not_recognized() -> None:
    """A sine bends y: no control comes out."""
    status, out = run(f"{Path(__file__).with_name('pairs.py')}:Wave", "--control")
    assert (status, "0 of 3 got the expected verdict." in out) == (1, True)


@pytest.mark.parametrize("other", [("--model",), ("--junit", "x.xml"), ("--format", "github")])
def test_reports_that_would_call_it_a_failure_are_refused(other: tuple[str, ...]) -> None:
    """Gradients are wrong on purpose; and a model has no runner to wrap."""
    result = CliRunner().invoke(main, ["audit", "engine", "--control", *other])
    assert result.exit_code == 2
    assert "cannot be used with --" in result.stderr


def test_the_seed_changes_no_verdict() -> None:
    """The inputs are other ones, the paths are not."""
    first, second = (controlled(Plain, seed)[0] for seed in (0, 3))
    assert first.through == second.through
    assert first.coefficients != second.coefficients
    assert np.isclose(first.coefficients.direct or 0, second.coefficients.direct or 0, atol=1e-4)
