"""The reference's gradient: against exact arithmetic, the complex step, and its invariants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backnorm import reference
from oracles import exact
from oracles.small_cases import BATCH_CASES, CASES, THROUGH
from oracles.tolerance import assert_close, largest

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from oracles.small_cases import Case

STEP = 1e-30
"""Of the complex step: its square vanishes beside any value that float64 tells from 0."""

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
by_batch_name = pytest.mark.parametrize("case", BATCH_CASES, ids=lambda case: case.name)
by_through = pytest.mark.parametrize("through", THROUGH)

batches = hnp.arrays(np.float64, (6, 2), elements=st.floats(-4, 4, width=32))
"""Bounded, so that with eps of 0.01 or more the condition stays below 41."""
some_eps = st.sampled_from([1e-2, 0.25, 1.0])
few = settings(max_examples=50)


def parts_of(case: Case) -> reference.GradientParts:
    """D, M and V of a case."""
    return reference.backward_parts(case.dy, case.x, case.gamma, **case.options)


@by_through
@by_name
def test_gradient_is_exact(case: Case, through: str) -> None:
    """All three gradients agree with dual numbers, through any choice of statistics."""
    got = reference.backward(case.dy, case.x, case.gamma, through=through, **case.options)
    want = exact.backward(case.dy, case.x, case.gamma, through=through, **case.options)
    scale = largest(parts_of(case).direct)
    assert_close(got.dx, want.dx, condition=case.condition, scale=scale)
    assert_close(got.dgamma, want.dgamma, condition=case.condition, scale=largest(case.dy))
    assert_close(got.dbeta, want.dbeta, scale=largest(case.dy))


@by_name
def test_each_path_is_exact(case: Case) -> None:
    """D, M and V are each what a program loses or keeps that detaches the statistics."""
    got = parts_of(case)
    none, mean, variance = (
        exact.backward(case.dy, case.x, case.gamma, through=through, **case.options).dx
        for through in ("none", "mean", "variance")
    )
    scale = largest(got.direct)
    assert_close(got.direct, none, condition=case.condition)
    assert_close(got.mean, mean - none, condition=case.condition, scale=scale)
    assert_close(got.variance, variance - none, condition=case.condition, scale=scale)


@by_batch_name
def test_variance_path_is_two_halves(case: Case) -> None:
    """With var = E[x^2]-E[x]^2, detaching the mean leaves V1 = -x*inv_std*mean(d*x_hat) of V."""
    got = parts_of(case)
    cut, direct, whole = (
        exact.backward(
            case.dy, case.x, case.gamma, through=through, variance=variance, **case.options
        ).dx
        for through, variance in (("variance", "raw"), ("none", "raw"), ("variance", "centred"))
    )
    fwd = reference.forward(case.x, **case.options)
    axes = tuple(axis for axis in range(case.x.ndim) if axis != case.channel_axis % case.x.ndim)
    share = (got.direct * fwd.x_hat).mean(axis=axes, keepdims=True)
    shape = share.shape
    v1 = -case.x * fwd.inv_std.reshape(shape) * share
    v2 = (fwd.mean * fwd.inv_std).reshape(shape) * share
    assert_close(v1, cut - direct, condition=case.condition)
    assert_close(v2 + np.zeros_like(case.x), whole - cut, condition=case.condition)
    assert_close(v1 + v2, got.variance, condition=case.condition, scale=largest(v1))


def test_third_path_vanishes_without_rounding() -> None:
    """The variance's derivative is the same Fractions whether its inner mean moves or not."""
    x = [3.0, 0.25, -1.5, 7.0, 2.0]
    whole = exact.variance_gradient(x)
    assert whole == exact.variance_gradient(x, variance="mean cut inside")
    assert whole == exact.variance_gradient(x, variance="raw")
    assert any(whole)


@by_name
def test_gradient_is_the_complex_step(case: Case) -> None:
    """All three gradients agree with the imaginary part of the loss at x + 1e-30j."""

    def loss(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> complex:
        return (case.dy * reference.forward(x, gamma, beta, **case.options).y).sum()

    def step(at: int, array: AnyArray) -> AnyArray:
        moved = array.astype(complex)
        moved.flat[at] += STEP * 1j
        return moved

    ones, zeros = np.ones(len(case.vectors[0])), np.zeros(len(case.vectors[0]))
    gamma = ones if case.gamma is None else case.gamma
    got = reference.backward(case.dy, case.x, case.gamma, **case.options)
    dx = [loss(step(at, case.x), gamma, zeros).imag / STEP for at in range(case.x.size)]
    dgamma = [loss(case.x, step(at, gamma), zeros).imag / STEP for at in range(gamma.size)]
    dbeta = [loss(case.x, gamma, step(at, zeros)).imag / STEP for at in range(zeros.size)]
    scale = largest(parts_of(case).direct)
    assert_close(got.dx, np.reshape(dx, case.shape), condition=case.condition, scale=scale)
    assert_close(got.dgamma, dgamma, condition=case.condition, scale=largest(case.dy))
    assert_close(got.dbeta, dbeta, scale=largest(case.dy))


@by_batch_name
def test_gradient_from_the_output_is_the_gradient(case: Case) -> None:
    """Caffe's form, which has no x, gives the same dx."""
    fwd = reference.forward(case.x, **case.options)
    got = reference.backward_from_output(
        case.dy, fwd.x_hat, fwd.inv_std, case.gamma, channel_axis=case.channel_axis
    )
    want = exact.backward(case.dy, case.x, case.gamma, **case.options).dx
    assert_close(got, want, condition=case.condition, scale=largest(parts_of(case).direct))


@few
@given(x=batches, dy=batches, eps=some_eps)
def test_gradient_sums_to_zero(x: AnyArray, dy: AnyArray, eps: float) -> None:
    """The sum of dx over a channel is zero, since y does not feel a shift of x."""
    d = reference.backward_parts(dy, x, eps=eps).direct
    sums = reference.backward(dy, x, eps=eps).dx.sum(axis=0)
    assert_close(sums, [0, 0], scale=x.shape[0] * largest(d), condition=condition_of(x, eps))


@few
@given(x=batches, dy=batches, eps=some_eps)
def test_gradient_along_x_hat_is_what_eps_leaves(x: AnyArray, dy: AnyArray, eps: float) -> None:
    """sum(x_hat*dx) = eps*inv_std^2*sum(d*x_hat), since y hardly feels a scaling of x."""
    fwd = reference.forward(x, eps=eps)
    d = reference.backward_parts(dy, x, eps=eps).direct
    got = (fwd.x_hat * reference.backward(dy, x, eps=eps).dx).sum(axis=0)
    want = eps * fwd.inv_std**2 * (d * fwd.x_hat).sum(axis=0)
    scale = x.shape[0] * largest(d) * largest(fwd.x_hat)
    assert_close(got, want, scale=scale, condition=condition_of(x, eps))


@few
@given(x=batches, dy=batches, eps=some_eps, shift=st.floats(-8, 8, width=32))
def test_gradient_ignores_a_constant_in_dy(
    x: AnyArray, dy: AnyArray, eps: float, shift: float
) -> None:
    """Gradient dx is unchanged when a constant is added to dy in one channel."""
    moved = dy + np.array([shift, 0.0])
    got = reference.backward(moved, x, eps=eps).dx
    want = reference.backward(dy, x, eps=eps).dx
    scale = max(largest(reference.backward_parts(each, x, eps=eps).direct) for each in (dy, moved))
    assert_close(got, want, scale=scale, condition=condition_of(x, eps))


def test_one_value_has_no_gradient() -> None:
    """With n = 1, y does not depend on x, and dx is exactly zero."""
    g = reference.backward(np.array([[3.0]]), np.array([[7.0]]), np.array([2.0]))
    assert g.dx.tolist() == [[0.0]]
    assert g.dgamma.tolist() == [0.0]
    assert g.dbeta.tolist() == [3.0]


def test_nan_stays_in_its_channel() -> None:
    """NaN in dy spoils its own channel and no other."""
    dy = np.array([[np.nan, 1.0], [0.0, 0.0]])
    g = reference.backward(dy, np.array([[0.0, 0.0], [2.0, 2.0]]), eps=3.0)
    assert np.isnan(g.dx[:, 0]).all()
    assert g.dx[:, 1].tolist() == [0.1875, -0.1875]
    assert np.isnan(g.dgamma).tolist() == [True, False]


def test_frozen_statistics_send_nothing_back() -> None:
    """With frozen statistics the two paths are zero whatever `through` says."""
    case = next(case for case in CASES if case.frozen)
    parts = parts_of(case)
    assert not parts.mean.any()
    assert not parts.variance.any()
    for through in THROUGH:
        g = reference.backward(case.dy, case.x, case.gamma, through=through, **case.options)
        assert g.dx.tolist() == parts.direct.tolist()


def condition_of(x: AnyArray, eps: float) -> float:
    """Bound on the growth of a rounding error: sqrt(1 + max(x^2)/eps)."""
    return float(np.sqrt(1 + (x**2).max() / eps))


def test_case_table_covers_every_position_of_the_channels() -> None:
    """The table holds a case with channels first, in the middle, last, and on the only axis."""
    positions = {(case.channel_axis % case.x.ndim, case.x.ndim) for case in CASES}
    assert {(0, 1), (0, 2), (1, 2), (1, 4), (2, 4), (3, 4)} <= positions
