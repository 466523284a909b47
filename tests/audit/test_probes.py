"""The measurements: shares of the paths, the numerical derivative, and what disturbs it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from audit.pairs import (
    EpsElsewhere,
    Float32Inside,
    HalfOfTheMean,
    LastBits,
    Law,
    Racing,
    RacingAndWrong,
    Relu,
    Running,
    Unrepeatable,
    WrongInFloat32,
)
from backnorm.audit import audit
from backnorm.audit.measure.derivative import compare, resolution
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.specimens import specimen_subjects
from backnorm.audit.subjects.registry import as_subject


def compared(pair: Any, dtype: str) -> Any:
    """Compare the gradient of a pair with the derivative of its forward pass."""
    return compare(as_subject(pair), np.random.default_rng(3), dtype)


def test_the_numerical_derivative_is_good_to_nine_digits() -> None:
    """In float64 an exact gradient differs from it by 1e-9 at most."""
    got = compared(Law(), "float64")
    assert got.resolution == "fine"
    assert got.errors.dx < 1e-9
    assert got.errors.dgamma < 1e-9
    assert got.errors.dbeta < 1e-9


def test_the_numerical_derivative_is_good_to_three_digits_in_float32() -> None:
    """In float32 an exact gradient differs from it by a tenth of the limit at most."""
    got = compared(Law(), "float32")
    assert got.resolution == "coarse"
    assert got.errors.dx < 5e-4
    assert got.skipped == 0.0


@pytest.mark.parametrize(
    ("pair", "expected"), [(Law(), "fine"), (Float32Inside(), "coarse")], ids=["64", "32 inside"]
)
def test_a_coarser_format_inside_is_noticed(pair: Any, expected: str) -> None:
    """float64 in and out says nothing about what is in between."""
    assert resolution(as_subject(pair), np.random.default_rng(4), "float64") == expected


def test_a_coarser_format_inside_is_no_fault() -> None:
    """Judged by the coarse limit, it is sound; a note says so."""
    record = audit(Float32Inside())
    assert record.sound
    assert record.notes == ("It accepts float64 and computes in a narrower dtype.",)


@pytest.mark.parametrize("seed", range(6))
def test_kinks_are_left_out(seed: int) -> None:
    """A relu behind the normalization is not blamed on the gradient, which is judged through it."""
    record = audit(Relu(), seed=seed)
    assert (record.mode, record.through, record.sound) == ("batch", "both", True)


def test_state_is_restored_before_each_call() -> None:
    """A pair whose running mean moves with each call is differentiated at one state."""
    record = audit(Running())
    assert record.sound
    assert record.mode == "other"


def test_what_does_not_repeat_itself_is_found() -> None:
    """Without the same y twice there is nothing to differentiate."""
    record = audit(Unrepeatable())
    assert not record.sound
    assert [finding.code for finding in record.findings] == ["G16"]


def test_a_gradient_that_differs_from_call_to_call_is_not_judged() -> None:
    """Whether it is right depends on the call; that is told from a wrong formula."""
    record = audit(Racing(), quick=True)
    assert record.sound is None
    assert record.not_judged == "dx differs from call to call on the same input"
    (found,) = record.findings
    assert found.code == "G16"
    assert found.got.startswith("dx differs by ")


def test_a_gradient_that_is_wrong_in_every_call_is_wrong() -> None:
    """Calls that differ by a part of the error excuse only that part."""
    record = audit(RacingAndWrong(), quick=True)
    assert record.sound is False
    assert "G16" not in {finding.code for finding in record.findings}


def test_last_bits_that_differ_are_no_fault_of_the_gradient() -> None:
    """A sum in the order in which threads end is sound, and R01 says that calls differ."""
    record = audit(LastBits())
    assert record.sound
    assert "R01" in {finding.code for finding in record.findings}


def test_each_format_is_judged_for_itself() -> None:
    """A fault in float32 only is found, and the note says where."""
    record = audit(WrongInFloat32(), quick=True)
    assert (record.through, record.sound) == ("mean", False)
    assert record.notes == (
        "Found in float32 only.",
        "The gradient goes through: mean in float32, both in float64.",
    )


@pytest.mark.parametrize("eps", [1e-7, 1e-5, 0.1])
def test_a_small_eps_at_the_wrong_place_is_found(eps: float) -> None:
    """Inputs with a small variance show it, where it is lost at a variance of 1."""
    record = audit(EpsElsewhere(eps))
    assert not record.sound
    assert "G10" in {finding.code for finding in record.findings}


@pytest.mark.parametrize("law", [Law(ddof=1), Law(eps=0.1, outside=True), Law(eps=0.1, ddof=1)])
def test_the_paths_are_those_of_the_law(law: Law) -> None:
    """Whatever the divisor and the place of eps, an exact gradient has coefficients 1, 1, 1."""
    record = audit(law)
    shares = record.coefficients
    for share in (shares.direct, shares.mean, shares.variance):
        assert share is not None
        assert abs(share - 1) < 1e-4
    assert record.residual is not None
    assert record.residual < 1e-4
    assert (record.through, record.sound) == ("both", True)


def test_half_a_path_has_no_name() -> None:
    """The fit is perfect, but with the batch's statistics a path is there or it is not."""
    record = audit(HalfOfTheMean())
    assert (record.through, record.sound) == ("unexplained", False)
    assert record.residual is not None
    assert record.residual < 1e-4
    assert [finding.code for finding in record.findings] == ["G05"]


def test_a_share_of_a_path_is_measured() -> None:
    """A blend of a tenth of the batch's statistics lets a tenth of both paths through."""
    blend = next(s for s in specimen_subjects() if s.name == "blend")
    shares = audit(blend).coefficients
    for share, expected in ((shares.direct, 1.0), (shares.mean, 0.1), (shares.variance, 0.1)):
        assert share is not None
        assert abs(share - expected) < 1e-4


@pytest.mark.parametrize("scale", [1.0, 2.0**-8])
def test_inputs_have_what_makes_faults_visible(scale: float) -> None:
    """Means far from zero, gamma of both signs, and the same values in every format."""
    subject = as_subject(Law())
    inputs = draw_inputs(subject, np.random.default_rng(5), "float32", batch=16, scale=scale)
    other = draw_inputs(subject, np.random.default_rng(5), "float64", batch=16, scale=scale)
    rows = inputs.geometry.rows(inputs.x)
    assert (np.abs(rows.mean(axis=1)) / rows.std(axis=1)).min() > 2
    assert inputs.gamma is not None
    assert (inputs.gamma < 0).any()
    assert (inputs.gamma > 0).any()
    assert np.array_equal(inputs.x.astype(np.float64), other.x)
    assert (other.x.dtype, inputs.x.dtype) == (np.float64, np.float32)
