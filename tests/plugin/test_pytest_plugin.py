"""The pytest plug-in, in runs of pytest of its own."""

from __future__ import annotations

import importlib.metadata

import pytest

pytest_plugins = ["pytester"]

LAYERS = """
import pytest
from backnorm.audit.specimens.cut import MeanCut
from backnorm.audit.specimens.plain import Plain
"""


def run(pytester: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    """Run tests in a process of their own, with the plug-in."""
    pytester.makepyfile(LAYERS + tests)
    plugins = (
        "-p",
        "backnorm.testing.pytest_plugin",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
    )
    return pytester.runpytest_subprocess(*plugins, "--strict-markers", *options)


def test_a_right_layer_passes(pytester: pytest.Pytester) -> None:
    """And the record is there for more."""
    result = run(
        pytester,
        """
def test_right(assert_gradient_goes_through):
    record = assert_gradient_goes_through(Plain, "both")
    assert record.sound
    assert record == assert_gradient_goes_through(Plain)
""",
    )
    result.assert_outcomes(passed=1)


def test_a_wrong_layer_fails_with_its_findings(pytester: pytest.Pytester) -> None:
    """What was expected, what was found, the causes and the remedy; no traceback."""
    result = run(
        pytester,
        """
def test_wrong(assert_gradient_goes_through):
    assert_gradient_goes_through(MeanCut, "both")
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "The gradient of MeanCut must be right and go through both; it goes through variance.",
            "not sound; biased variance, eps * inside the root; direct *, mean *, variance *",
            "  G01  The gradient does not go through the mean*",
            "       expected  coefficients 1, 1, 1",
            "       causes    (a) the mean is detached*",
            "       remedy    Let the mean be a function of x*",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_another_path_than_the_expected_fails(pytester: pytest.Pytester) -> None:
    """Also where the gradient is right; and a wrong gradient fails on its own path."""
    result = run(
        pytester,
        """
def test_path(assert_gradient_goes_through):
    assert_gradient_goes_through(Plain, "none")

def test_sound(assert_gradient_goes_through):
    assert_gradient_goes_through(MeanCut, "variance")

def test_lost(assert_gradient_goes_through):
    class Raises(Plain):
        @staticmethod
        def forward(x, gamma, beta):
            raise ValueError("no way")
    assert_gradient_goes_through(Raises)
""",
    )
    result.assert_outcomes(failed=3)
    text = result.stdout.str()
    assert "The gradient of Plain must be right and go through none; it goes through both." in text
    assert "must be right and go through variance; it goes through variance." in text
    assert "go through both; it could not be audited." in text
    assert "no way" in text


def test_a_path_that_there_is_not_is_refused(pytester: pytest.Pytester) -> None:
    """A misspelt name is no failed layer."""
    result = run(
        pytester,
        """
def test_misspelt(assert_gradient_goes_through):
    with pytest.raises(ValueError, match="through must be"):
        assert_gradient_goes_through(Plain, "bot")
""",
    )
    result.assert_outcomes(passed=1)


def test_the_marker_gives_kind_axes_and_seed(pytester: pytest.Pytester) -> None:
    """For all audits of a test; arguments go before it."""
    result = run(
        pytester,
        """
@pytest.mark.backnorm_audit(kind="layer", axes="NCL", seed=3)
def test_marked(assert_gradient_goes_through, monkeypatch):
    seen = []
    import backnorm.testing.pytest_plugin as plugin
    real = plugin.audit
    monkeypatch.setattr(
        plugin, "audit", lambda layer, **given: seen.append(given) or real(Plain)
    )
    assert_gradient_goes_through(Plain)
    assert_gradient_goes_through(Plain, kind="batch", axes="NC", seed=4, quick=False)
    assert seen == [
        {"kind": "layer", "axes": "NCL", "seed": 3, "quick": True},
        {"kind": "batch", "axes": "NC", "seed": 4, "quick": False},
    ]
""",
    )
    result.assert_outcomes(passed=1)


def test_axes_decide_over_what_is_normalized(pytester: pytest.Pytester) -> None:
    """A kind that is given with axes is not searched: the wrong axes fail."""
    result = run(
        pytester,
        """
import numpy as np

class OverTime:
    @staticmethod
    def forward(x, gamma, beta):
        inv_std = 1 / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        x_hat = (x - x.mean(1, keepdims=True)) * inv_std
        return gamma * x_hat + beta, (x_hat, gamma * inv_std)

    @staticmethod
    def backward(dy, cache):
        x_hat, scale = cache
        direct = dy - dy.mean(1, keepdims=True) - x_hat * (dy * x_hat).mean(1, keepdims=True)
        return scale * direct, (dy * x_hat).sum((0, 1)), dy.sum((0, 1))

@pytest.mark.backnorm_audit(kind="instance", axes="NTC")
def test_marked(assert_gradient_goes_through):
    assert not assert_gradient_goes_through(OverTime).notes

def test_argument(assert_gradient_goes_through):
    assert_gradient_goes_through(OverTime, kind="instance", axes="NTC")

def test_wrong(assert_gradient_goes_through):
    assert_gradient_goes_through(OverTime, kind="batch", axes="NTC")
""",
    )
    result.assert_outcomes(passed=2, failed=1)


def test_audits_can_be_chosen(pytester: pytest.Pytester) -> None:
    """-m backnorm_audit leaves the tests that use the fixture, and those that are marked."""
    tests = """
def test_uses(assert_gradient_goes_through):
    assert_gradient_goes_through(Plain)

def test_other():
    pass
"""
    run(pytester, tests, "-m", "backnorm_audit").assert_outcomes(passed=1, deselected=1)
    run(pytester, tests, "-m", "not backnorm_audit").assert_outcomes(passed=1, deselected=1)


def test_nobody_pays_who_does_not_ask() -> None:
    """backnorm has no entry point of pytest: its import would be part of every run."""
    points = importlib.metadata.distribution("backnorm").entry_points
    assert [point.name for point in points if point.group == "pytest11"] == []


ACCEPTED = """
[tool.backnorm]
quick = true

[[tool.backnorm.accepted]]
finding = "G01"
target = "mine.py:Constant"
reason = "constants by design"
until = 2030-06-15
"""

MINE = """
from backnorm.audit.specimens.cut import MeanCut

class Constant(MeanCut):
    pass

class Other(MeanCut):
    pass
"""

DATED = """
import datetime
from mine import Constant, Other

@pytest.fixture(scope="session")
def backnorm_today():
    return datetime.date(2030, 6, {day})

def test_accepted(assert_gradient_goes_through):
    assert assert_gradient_goes_through(Constant, "variance").findings[0].ignored
    assert_gradient_goes_through(Constant(), "variance")

def test_another_path(assert_gradient_goes_through):
    assert_gradient_goes_through(Constant, "both")

def test_another_layer(assert_gradient_goes_through):
    assert_gradient_goes_through(Other, "variance")
"""


@pytest.mark.parametrize(("day", "passed"), [(15, 1), (16, 0)])
def test_findings_that_the_project_accepts_do_not_count(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, day: int, passed: int
) -> None:
    """Until their last day, for the layer that is named, and only on the path that is expected."""
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    pytester.makepyprojecttoml(ACCEPTED)
    pytester.makepyfile(mine=MINE)
    result = run(pytester, DATED.format(day=day))
    result.assert_outcomes(passed=passed, failed=3 - passed)
    said = "G01 of mine.py:Constant was accepted until 2030-06-15 (constants by design)."
    assert (said in result.stdout.str()) is (not passed)


def test_an_unknown_key_of_the_project_is_an_error(pytester: pytest.Pytester) -> None:
    """A misspelled key would be an acceptance that is not there."""
    test = """
from mine import Constant

def test_kind(assert_gradient_goes_through):
    assert_gradient_goes_through(Constant, kind="batch")
"""
    pytester.makepyprojecttoml('[tool.backnorm]\ntarget = "a"\n')
    pytester.makepyfile(mine=MINE)
    pytester.syspathinsert()
    result = run(pytester, test)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*has an unknown key: 'target'.*"])
