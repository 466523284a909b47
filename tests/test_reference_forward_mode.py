"""The reference's forward mode: against exact arithmetic, the complex step, and backward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backnorm import reference
from oracles import exact
from oracles.small_cases import CASES, THROUGH
from oracles.tolerance import assert_close, largest

if TYPE_CHECKING:
    from oracles.small_cases import Case

STEP = 1e-30
"""Of the complex step: its square vanishes beside any value that float64 tells from 0."""

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
by_through = pytest.mark.parametrize("through", THROUGH)


def scale_of(case: Case) -> Any:
    """The largest of the terms that make up a tangent of y."""
    direct = reference.backward_parts(case.ddx, case.x, case.gamma, **case.options).direct
    return largest(direct, case.ddgamma, case.ddbeta)


@by_through
@by_name
def test_tangent_is_exact(case: Case, through: str) -> None:
    """The tangent of y agrees with dual numbers through any choice of statistics."""
    moves = {"gamma_tangent": case.ddgamma, "beta_tangent": case.ddbeta, "through": through}
    got = reference.jvp(case.ddx, case.x, case.gamma, **moves, **case.options)
    want = exact.jvp(case.ddx, case.x, case.gamma, **moves, **case.options)
    assert_close(got, want, condition=case.condition, scale=scale_of(case))


@by_name
def test_tangent_is_the_complex_step(case: Case) -> None:
    """The tangent of y is the imaginary part of y at x + 1e-30j*x_tangent."""
    gamma = np.ones(len(case.ddgamma)) if case.gamma is None else case.gamma
    moved = reference.forward(
        case.x + STEP * 1j * case.ddx,
        gamma + STEP * 1j * case.ddgamma,
        STEP * 1j * case.ddbeta,
        **case.options,
    )
    got = reference.jvp(
        case.ddx,
        case.x,
        case.gamma,
        gamma_tangent=case.ddgamma,
        beta_tangent=case.ddbeta,
        **case.options,
    )
    assert_close(got, moved.y.imag / STEP, condition=case.condition, scale=scale_of(case))


@by_through
@by_name
def test_tangent_is_the_adjoint_of_the_gradient(case: Case, through: str) -> None:
    """sum(dy*jvp(moves)) = sum(gradients*moves), with the same statistics cut from both."""
    options = {"through": through, **case.options}
    tangent = reference.jvp(
        case.ddx,
        case.x,
        case.gamma,
        gamma_tangent=case.ddgamma,
        beta_tangent=case.ddbeta,
        **options,
    )
    g = reference.backward(case.dy, case.x, case.gamma, **options)
    moves = ((g.dx, case.ddx), (g.dgamma, case.ddgamma), (g.dbeta, case.ddbeta))
    terms = case.x.size * largest(case.dy) * scale_of(case)
    got = (case.dy * tangent).sum()
    want = sum((gradient * move).sum() for gradient, move in moves)
    assert_close(got, want, condition=case.condition, scale=terms)


@pytest.mark.parametrize("through", THROUGH)
def test_shift_moves_y_only_past_a_fixed_mean(through: str) -> None:
    """Shifting x by 1 moves y by inv_std = 1/2 where the mean does not take part, else by 0."""
    x = np.array([[0.0], [0.0], [4.0], [4.0]])
    tangent = reference.jvp(np.ones_like(x), x, eps=0.0, through=through)
    moved = 0.0 if through in ("both", "mean") else 0.5
    assert tangent[:, 0].tolist() == [moved] * 4
