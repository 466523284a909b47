"""The exact result of a subject's own law, against 60-digit arithmetic and the laws themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from audit.pairs import Law
from backnorm.audit.measure.exact import Exact, ExactLaw, exact_law
from backnorm.audit.measure.forward_law import recover_forward_law
from backnorm.audit.measure.inputs import Inputs, draw_inputs
from backnorm.audit.measure.variance_rule import VarianceRule
from backnorm.audit.specimens.harmless import Blend
from backnorm.audit.subjects.engine import ENGINE
from backnorm.audit.subjects.registry import as_subject
from oracles import exact
from oracles.tolerance import assert_close

if TYPE_CHECKING:
    from backnorm.audit.subject import Subject

BATCH = 5
SWEPT = [(0.0, 1.0), (1e6, 1.0), (1.0, 1e-20), (1.0, 1e20)]


def law_of(subject: Subject) -> ExactLaw | None:
    """Recover the law of a subject, and make it exact."""
    law = recover_forward_law(subject, np.random.default_rng(0), subject.dtypes[0])
    return exact_law(subject, law, np.random.default_rng(1), batch=BATCH)


def results(subject: Subject, inputs: Inputs) -> Exact:
    """Compute the exact y and dx of one call by the law of the subject."""
    law = law_of(subject)
    assert law is not None
    return law.results(inputs)


@pytest.mark.parametrize(("offset", "scale"), SWEPT)
def test_the_result_is_exact_for_any_mean_and_scale(offset: float, scale: float) -> None:
    """It agrees with 60-digit arithmetic on the same rounded input."""
    subject = as_subject(ENGINE["backnorm.batch_norm"])
    inputs = draw_inputs(subject, np.random.default_rng(2), "float32", batch=2)
    x = (np.random.default_rng(3).standard_normal(inputs.x.shape) + offset) * scale
    inputs = replace(inputs, x=x.astype(np.float32))
    law = law_of(subject)
    assert law is not None
    assert isinstance(law.statistics, VarianceRule)
    got, eps = law.results(inputs), law.statistics.eps
    fwd = exact.forward(inputs.x, inputs.gamma, inputs.beta, eps=eps)
    g = exact.backward(inputs.dy, inputs.x, inputs.gamma, eps=eps)
    assert_close(inputs.geometry.from_rows(got.y), fwd.y)
    size = float(np.abs(got.direct).max())
    assert_close(inputs.geometry.from_rows(got.dx), g.dx, scale=size)


LAWS: dict[str, Any] = {
    "biased": Law(),
    "unbiased": Law(ddof=1),
    "outside": Law(outside=True, eps=1e-3),
    "1 + gamma": Law(gamma_law=lambda gamma: 1 + gamma),
}


@pytest.mark.parametrize("name", LAWS)
def test_the_law_is_the_subjects_own(name: str) -> None:
    """In float64 a pair and its exact law agree to what float64 holds, eps included."""
    subject = replace(as_subject(LAWS[name]), dtypes=("float64",))
    inputs = draw_inputs(subject, np.random.default_rng(4), "float64", batch=BATCH, scale=2.0**-8)
    run, got = inputs.run(subject), results(subject, inputs)
    assert_close(inputs.geometry.from_rows(got.y), run.y, units=64)
    assert_close(inputs.geometry.from_rows(got.dx), run.dx, units=256)


@pytest.mark.parametrize("eps", [0.0, 1e-12, 1e-5])
def test_eps_is_known_where_variances_would_hide_it(eps: float) -> None:
    """In float32 the variances that the law is recovered from have no digits of 1e-12."""
    law = law_of(as_subject(Law(eps=eps, dtypes=("float32",))))
    assert law is not None
    assert isinstance(law.statistics, VarianceRule)
    assert law.statistics.eps == pytest.approx(eps, rel=1e-5, abs=0)


def test_constants_are_found() -> None:
    """Frozen statistics: a straight line, whatever x is."""
    subject = as_subject(ENGINE["backnorm.batch_norm (frozen)"])
    inputs = draw_inputs(subject, np.random.default_rng(5), "float64", batch=BATCH, scale=2.0**20)
    run, got = inputs.run(subject), results(subject, inputs)
    assert_close(inputs.geometry.from_rows(got.y), run.y, units=64)
    assert_close(inputs.geometry.from_rows(got.dx), run.dx, units=64)


def test_there_is_no_exact_result_without_a_law() -> None:
    """A blend of statistics is neither the batch's nor constant."""
    assert law_of(as_subject(Blend)) is None
