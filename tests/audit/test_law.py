"""The forward law is recovered from y alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from audit.pairs import Law as LawPair
from audit.pairs import Running, Shifted, Wave
from backnorm.audit.measure.forward_law import recover_forward_law
from backnorm.audit.measure.variance_rule import Observed, find_variance_rule
from backnorm.audit.specimens.other_kinds import Over
from backnorm.audit.specimens.plain import Frozen
from backnorm.audit.subjects.registry import as_subject

if TYPE_CHECKING:
    from backnorm.audit.measure.forward_law import ForwardLaw


def law_of(pair: Any, dtype: str = "float32", kind: Any = None) -> ForwardLaw:
    """Recover the law of a pair."""
    return recover_forward_law(as_subject(pair, kind), np.random.default_rng(7), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("eps", [1e-5, 1e-3, 0.1])
@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("ddof", [0, 1])
def test_divisor_and_eps_are_found(ddof: int, eps: float, dtype: str, *, outside: bool) -> None:
    """n or n - 1, eps inside or outside the root, and eps itself to 1 percent."""
    law = law_of(LawPair(ddof=ddof, eps=eps, outside=outside), dtype)
    assert law.mode == "batch"
    assert law.variance_rule is not None
    assert law.variance_rule.estimator == ("unbiased" if ddof else "biased")
    assert law.variance_rule.place == ("outside" if outside else "inside")
    assert abs(law.variance_rule.eps / eps - 1) < 1e-2


def test_without_eps_the_usual_law_is_taken() -> None:
    """With eps = 0 both places fit, and rounding does not choose: inside is the usual one."""
    rng = np.random.default_rng(8)
    for _ in range(50):
        var = rng.uniform(0.5, 2.0, (30, 1)) ** 2
        noisy = (1 + 1e-6 * rng.standard_normal(var.shape)) / np.sqrt(var)
        rule = find_variance_rule(
            Observed(var, np.full(var.shape, 20.0), noisy, var < 1.0), unbiased_too=True
        )
        assert rule is not None
        assert (rule.estimator, rule.place) == ("biased", "inside")
        assert rule.eps < 1e-5


GAMMA_LAWS = {"gamma": lambda g: g, "1 + gamma": lambda g: 1 + g, "|gamma|": np.abs}


@pytest.mark.parametrize("name", GAMMA_LAWS)
def test_the_law_of_gamma_is_found(name: str) -> None:
    """Some layers count gamma from 0, some take its size only."""
    law = law_of(LawPair(gamma_law=GAMMA_LAWS[name]))
    assert (law.mode, law.form.gamma_law) == ("batch", name)


class AffineAlone:
    """gamma*x + beta: normalization by a mean of 0 and a variance of 1."""

    @staticmethod
    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        """Return y and a cache."""
        return gamma.reshape(1, -1, 1, 1) * x + beta.reshape(1, -1, 1, 1), x

    @staticmethod
    def backward(dy: Any, cache: Any) -> Any:
        """Return nothing of use: only y is looked at."""
        return dy, (dy * cache).sum((0, 2, 3)), dy.sum((0, 2, 3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_mean_of_zero_is_frozen_too(dtype: str) -> None:
    """Its intercept is nothing but rounding, which has no size to compare with."""
    assert law_of(AffineAlone, dtype).mode == "frozen"


def test_constants_are_frozen() -> None:
    """Statistics that do not change with x are constants."""
    law = law_of(Frozen)
    assert law.mode == "frozen"
    assert str(law) == "constant statistics"


@pytest.mark.parametrize("pair", [Wave, Running, Shifted])
def test_anything_else_is_other(pair: Any) -> None:
    """A bent line, a mean that is the batch's in part, a shift: no law that has a name."""
    assert law_of(pair).mode == "other"


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_number_of_groups_is_found(groups: int) -> None:
    """A subject that does not tell its groups is asked by numbers."""

    class Silent:
        """Group normalization that hides its groups."""

        forward = Over("group", groups=groups).forward
        backward = Over("group", groups=groups).backward

    law = law_of(Silent(), kind="group")
    assert (law.mode, law.groups) == ("batch", groups)


def test_the_wrong_kind_follows_no_law() -> None:
    """Batch normalization is no layer normalization."""
    assert law_of(Over("instance"), kind="batch").mode == "other"


def test_a_mean_square_is_no_variance() -> None:
    """RMS normalization has no mean, and no n - 1."""
    law = law_of(Over("rms"))
    assert str(law) == "mean square, eps 1e-05 inside the root"
