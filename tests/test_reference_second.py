"""The reference's second derivative: against exact arithmetic and the complex step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backnorm import reference
from oracles import exact
from oracles.small_cases import CASES
from oracles.tolerance import assert_close, largest

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from oracles.small_cases import Case

STEP = 1e-30
"""Of the complex step: its square vanishes beside any value that float64 tells from 0."""

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

WEIGHTS = {
    "all": ("ddx", "ddgamma", "ddbeta"),
    "of dx": ("ddx",),
    "of dgamma": ("ddgamma",),
    "of dbeta": ("ddbeta",),
}
by_weights = pytest.mark.parametrize("names", WEIGHTS.values(), ids=WEIGHTS)


def weights_of(case: Case, names: tuple[str, ...]) -> dict[str, AnyArray | None]:
    """The weights with these names, and None for the others."""
    return {
        name: getattr(case, name) if name in names else None
        for name in ("ddx", "ddgamma", "ddbeta")
    }


def assert_second_close(got: Any, want: Any, case: Case) -> None:
    """Compare all three parts, each beside the size of the terms it is made of."""
    inv_std = largest(reference.forward(case.x, **case.options).inv_std)
    gamma = 1.0 if case.gamma is None else largest(case.gamma)
    weights = largest(case.ddx, case.ddgamma, case.ddbeta)
    slope, dy = max(1, gamma * inv_std), largest(case.dy)
    assert_close(got.dy, want.dy, scale=weights * slope, condition=case.condition)
    assert_close(got.x, want.x, scale=weights * slope * inv_std * dy, condition=case.condition)
    if case.gamma is None:
        assert got.gamma is None
    else:
        assert_close(got.gamma, want.gamma, scale=weights * inv_std * dy, condition=case.condition)


@by_weights
@by_name
def test_second_derivative_is_exact(case: Case, names: tuple[str, ...]) -> None:
    """The gradients by x, dy and gamma agree with dual numbers of dual numbers."""
    weights = weights_of(case, names)
    got = reference.double_backward(
        dy=case.dy, x=case.x, gamma=case.gamma, **weights, **case.options
    )
    want = exact.double_backward(dy=case.dy, x=case.x, gamma=case.gamma, **weights, **case.options)
    assert_second_close(got, want, case)


@by_name
def test_second_derivative_is_the_complex_step(case: Case) -> None:
    """The gradients by x, dy and gamma agree with the complex step through `backward`."""

    def weighted(dy: AnyArray, x: AnyArray, gamma: AnyArray) -> complex:
        g = reference.backward(dy, x, gamma, **case.options)
        weighted_sums = (g.dx * case.ddx, g.dgamma * case.ddgamma, g.dbeta * case.ddbeta)
        return sum(each.sum() for each in weighted_sums)

    def by(name: str) -> AnyArray:
        arguments = {"dy": case.dy, "x": case.x, "gamma": gamma}
        found = np.empty(arguments[name].shape)
        for at in np.ndindex(found.shape):
            moved = arguments[name].astype(complex)
            moved[at] += STEP * 1j
            found[at] = weighted(**{**arguments, name: moved}).imag / STEP
        return found

    gamma = np.ones(len(case.ddgamma)) if case.gamma is None else case.gamma
    got = reference.double_backward(
        case.ddx,
        case.dy,
        case.x,
        case.gamma,
        ddgamma=case.ddgamma,
        ddbeta=case.ddbeta,
        **case.options,
    )
    want = exact.SecondGradients(x=by("x"), dy=by("dy"), gamma=by("gamma"))
    assert_second_close(got, want, case)


def test_no_weights_give_zero() -> None:
    """With every weight None, all gradients are zero."""
    x = np.array([[0.0], [4.0]])
    second = reference.double_backward(None, x, x, np.ones(1))
    assert not second.x.any()
    assert not second.dy.any()
    assert second.gamma.tolist() == [0.0]


def test_one_value_leaves_what_dbeta_sends() -> None:
    """With n = 1, dx and dgamma are 0 for any x, so that only ddbeta comes through, to dy."""
    one = np.ones(1)
    second = reference.double_backward(
        np.ones((1, 1)), np.ones((1, 1)), np.full((1, 1), 7.0), one, ddgamma=one, ddbeta=3 * one
    )
    assert second.x.tolist() == [[0.0]]
    assert second.dy.tolist() == [[3.0]]
    assert second.gamma.tolist() == [0.0]
