"""Weights of positions: the reference's weighted statistics and gradients; a mask if all equal."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import backnorm as bn
from backnorm import reference
from backnorm.errors import DtypeError, RangeError, ShapeError
from backnorm.testing.budget import assert_bits, assert_within_budget
from backnorm.testing.cases import DTYPES, KERNELS, dtype_of

if TYPE_CHECKING:
    from backnorm._types import AnyArray

SHAPES = {1: (4, 3, 5, 6), -1: (4, 5, 6, 3)}
C = 3
EPS = 1e-2
STEP = 1e-30
"""Of the complex step."""

HIDDEN = (np.nan, np.inf, 1e38)

by_kernel = pytest.mark.parametrize("kernel", KERNELS)
by_dtype = pytest.mark.parametrize("dtype", DTYPES)
by_axis = pytest.mark.parametrize("axis", [1, -1])
by_through = pytest.mark.parametrize("through", ["both", "mean", "variance", "none"])


def batch(dtype: str, axis: int, hidden: float = 0.0) -> Any:
    """Seeded x, residual, dy, ddx, and weights of which a third is 0."""
    rng = np.random.default_rng(7)
    arrays = rng.normal(3.0, 2.0, (4, *SHAPES[axis]))
    weights = rng.uniform(0.1, 3.0, (4, 5, 6)) * (rng.random((4, 5, 6)) < 2 / 3)
    weights[1] = 0.0
    np.moveaxis(arrays, axis + (axis > 0), -1)[:, weights == 0] = hidden
    with np.errstate(over="ignore"):
        return (*arrays.astype(dtype_of(dtype)), weights)


def count(weights: AnyArray, axis: int, array: Any) -> AnyArray:
    """The values that count, (count, C), in float64."""
    return np.moveaxis(np.asarray(array), axis, -1)[weights > 0].astype(np.float64)


PARAMETERS: dict[str, Any] = {
    "gamma": np.array([1.5, -0.5, 2.0]),
    "beta": np.array([0.5, 0.0, -1.0]),
    "eps": EPS,
}


@by_kernel
@by_dtype
@by_axis
@by_through
def test_weighted_results_are_those_of_the_reference(
    kernel: str, dtype: str, axis: int, through: Any
) -> None:
    """y, statistics and all gradients of every kernel, dtype and layout, whatever 0 hides."""
    for hidden in (0.0, *HIDDEN):
        x, residual, dy, _, weights = batch(dtype, axis, hidden)
        fwd: Any = bn.batch_norm(
            x,
            residual=residual,
            mask=weights,
            channel_axis=axis,
            activation="leaky_relu",
            kernel=kernel,
            **PARAMETERS,
        )
        g: Any = bn.batch_norm_backward(dy, fwd, through=through, kernel=kernel)
        w = weights[weights > 0]
        values, residuals, dys = (count(weights, axis, a) for a in (x, residual, dy))
        want = reference.weighted_forward(values, w, **PARAMETERS)
        z = want.y + residuals
        assert_within_budget(fwd.mean[None], want.mean[None])
        assert_within_budget(fwd.var[None], want.var[None])
        exact = reference.activate(z, "leaky_relu")
        y = np.moveaxis(fwd.y, axis, -1)[weights > 0]
        assert_within_budget(y, exact, scale=np.abs(values).max() * 2)
        dz = dys * reference.activation_gradient(y, "leaky_relu")
        exact_g: Any = reference.weighted_backward(
            dz, values, w, PARAMETERS["gamma"], eps=EPS, through=through
        )
        size = 2.0 * np.abs(dz).max()
        for name, found, right in (
            ("dx", g.dx, exact_g.dx),
            ("dresidual", g.dresidual, dz),
        ):
            assert found.dtype == x.dtype, name
            assert not np.moveaxis(found, axis, -1)[weights == 0].any()
            assert_within_budget(np.moveaxis(found, axis, -1)[weights > 0], right, scale=size)
        assert_within_budget(g.dgamma[None], exact_g.dgamma[None], scale=size * len(w))
        assert_within_budget(g.dbeta[None], exact_g.dbeta[None], scale=size * len(w))
        assert g.dmask.dtype == weights.dtype
        assert not g.dmask[weights == 0].any()
        assert_within_budget(
            g.dmask[weights > 0][None], exact_g.dmask[None], channel_axis=0, scale=size
        )


def test_what_a_weight_of_0_hides_changes_no_bit() -> None:
    """NaN, inf and 1e38 in x, the residual, dy and the steps."""

    def results(hidden: float) -> list[AnyArray]:
        x, residual, dy, ddx, weights = batch("float32", 1, hidden)
        fwd: Any = bn.batch_norm(x, residual=residual, mask=weights, **PARAMETERS)
        g: Any = bn.batch_norm_backward(dy, fwd)
        steps = np.where(weights > 0, 0.5, hidden)
        second: Any = bn.batch_norm_double_backward(
            ddx, dy, fwd, ddgamma=np.ones(C), ddresidual=ddx, ddmask=steps
        )
        tangent = bn.batch_norm_jvp(ddx, fwd, residual_tangent=dy, mask_tangent=steps)
        found = [fwd.y, fwd.mean, fwd.var, fwd.unbiased_var, tangent]
        found += [g.dx, g.dgamma, g.dbeta, g.dresidual, g.dmask]
        return [*found, second.x, second.dy, second.gamma, second.mask]

    want = results(0.0)
    for hidden in HIDDEN:
        for got, right in zip(results(hidden), want, strict=True):
            assert_bits(got, right)


@by_kernel
@by_dtype
@by_axis
@pytest.mark.parametrize("sums", ["float64", "exact"])
@pytest.mark.parametrize("value", [1.0, 0.3])
def test_equal_weights_have_the_bits_of_a_mask(
    kernel: str, dtype: str, axis: int, sums: Any, value: float
) -> None:
    """All that a mask computes: with weights of 0 and 1, or of 0 and any other value."""
    x, residual, dy, ddx, weights = batch(dtype, axis)
    mask = weights > 0
    given = {"residual": residual, "channel_axis": axis, "sums": sums, "activation": "relu"}
    found = []
    for m in (mask * value, mask):
        fwd: Any = bn.batch_norm(x, mask=m, kernel=kernel, **given, **PARAMETERS)
        g: Any = bn.batch_norm_backward(dy, fwd, kernel=kernel)
        second = bn.batch_norm_double_backward(ddx, dy, fwd, ddgamma=np.ones(C))
        tangent = bn.batch_norm_jvp(ddx, fwd, gamma_tangent=np.ones(C))
        results = [fwd.y, fwd.mean, fwd.var, fwd.inv_std, g.dx, g.dgamma, g.dbeta, g.dresidual]
        found.append([*results, tangent, second.x, second.dy, second.gamma])
    for got, want in zip(*found, strict=True):
        assert_bits(got, want)


@pytest.mark.parametrize("name", ["x", "dy", "gamma", "w"])
def test_second_derivative_is_the_complex_step(name: str) -> None:
    """By x, dy, gamma and the weights, of all gradients at once, dmask included."""
    rng = np.random.default_rng(5)
    given = {"x": rng.normal(1.0, 2.0, (7, C)), "dy": rng.normal(size=(7, C))}
    given |= {"gamma": np.array([1.5, -0.5, 2.0]), "w": rng.uniform(0.1, 3.0, 7)}
    ddx, ddgamma, ddbeta = rng.normal(size=(7, C)), rng.normal(size=C), rng.normal(size=C)
    ddmask = rng.normal(size=7)

    def loss(arrays: dict[str, AnyArray]) -> Any:
        g: Any = reference.weighted_backward(
            arrays["dy"], arrays["x"], arrays["w"], arrays["gamma"], eps=EPS
        )
        terms = (g.dx * ddx, g.dgamma * ddgamma, g.dbeta * ddbeta, g.dmask * ddmask)
        return sum(term.sum() for term in terms)

    want = np.empty(given[name].shape)
    for at in np.ndindex(want.shape):
        moved = given[name].astype(complex)
        moved[at] += 1j * STEP
        want[at] = loss({**given, name: moved}).imag / STEP
    fwd = bn.batch_norm(given["x"], given["gamma"], mask=given["w"], eps=EPS, beta=np.zeros(C))
    second: Any = bn.batch_norm_double_backward(
        ddx, given["dy"], fwd, ddgamma=ddgamma, ddbeta=ddbeta, ddmask=ddmask
    )
    got = {"x": second.x, "dy": second.dy, "gamma": second.gamma, "w": second.mask}[name]
    assert_within_budget(got.reshape(1, -1), want.reshape(1, -1), channel_axis=0, scale=100.0)


@by_through
@pytest.mark.parametrize("frozen", [False, True])
def test_forward_mode_is_the_adjoint(through: Any, frozen: Any) -> None:
    """sum(dy*y') is sum(dx*x') and the same of the parameters, the residual and the weights."""
    x, residual, dy, step, weights = batch("float64", 1)
    statistics = {"running_mean": np.ones(C), "running_var": np.full(C, 2.0)} if frozen else {}
    fwd = bn.batch_norm(
        x, residual=residual, mask=weights, activation="leaky_relu", **statistics, **PARAMETERS
    )
    g: Any = bn.batch_norm_backward(dy, fwd, through=through)
    steps = np.random.default_rng(1).normal(size=weights.shape)
    tangent = bn.batch_norm_jvp(
        step,
        fwd,
        gamma_tangent=np.ones(C),
        beta_tangent=np.full(C, 0.5),
        residual_tangent=residual,
        mask_tangent=steps,
        through=through,
    )
    terms = (g.dx * step, g.dgamma, 0.5 * g.dbeta, g.dresidual * residual, g.dmask * steps)
    got, want = sum(term.sum() for term in terms), (dy * tangent).sum()
    size = sum(np.abs(term).sum() for term in terms)
    assert_within_budget(np.full((1, 1), got), np.full((1, 1), want), scale=size)


def test_frozen_statistics_do_not_depend_on_weights() -> None:
    """Then weights are a mask, in forward, backward and the second derivative; dmask is 0."""
    x, _, dy, ddx, weights = batch("float32", 1)
    statistics = {"running_mean": np.ones(C), "running_var": np.full(C, 2.0)}
    results = []
    for mask in (weights, weights > 0):
        fwd = bn.batch_norm(x, mask=mask, **statistics, **PARAMETERS)
        g: Any = bn.batch_norm_backward(dy, fwd)
        second: Any = bn.batch_norm_double_backward(ddx, dy, fwd)
        results.append((fwd.y, g.dx, g.dgamma, second.x, second.dy, second.gamma))
        if mask is weights:
            assert not g.dmask.any()
            assert not second.mask.any()
    for got, want in zip(*results, strict=True):
        assert_bits(got, want)


def test_the_unbiased_variance_is_that_of_numpy() -> None:
    """That of numpy.cov with aweights; of equal weights n/(n - 1)."""
    x = np.random.default_rng(2).normal(size=(9, 1))
    weights = np.random.default_rng(3).uniform(0.1, 3.0, 9)
    fwd: Any = bn.batch_norm(x, mask=weights)
    want = np.cov(x[:, 0], aweights=weights)
    assert_within_budget(fwd.unbiased_var[None], want.reshape(1, 1), scale=2.0)
    equal: Any = bn.batch_norm(x, mask=np.full(9, 0.25))
    assert_within_budget(equal.unbiased_var[None], np.full((1, 1), x.var(ddof=1)), scale=2.0)


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_only_ratios_of_weights_count(scale: float) -> None:
    """Weights of any size, some 1e12 times the others; the truth in fractions."""
    x = np.random.default_rng(2).normal(1e4, 1.0, (6, 1)).astype(np.float32)
    weights = np.array([1.0, 1e-12, 3.0, 0.5, 1e-6, 2.0]) * scale
    fwd = bn.batch_norm(x, mask=weights)
    shares = [Fraction(w) for w in weights]
    values = [Fraction(float(v)) for v in x[:, 0]]
    mean = sum(w * v for w, v in zip(shares, values, strict=True)) / sum(shares)
    squares = sum(w * (v - mean) ** 2 for w, v in zip(shares, values, strict=True))
    assert abs(Fraction(float(fwd.mean[0])) - mean) < 1e-11
    assert abs(fwd.var[0] - float(squares / sum(shares))) < 1e-11


def test_buffers() -> None:
    """out and into are written; "add" adds, and leaves the buffer where a weight is 0."""
    x, residual, dy, _, weights = batch("float64", 1)
    out = np.full_like(x, 9.0)
    fwd = bn.batch_norm(x, residual=residual, mask=weights, out=out, **PARAMETERS)
    assert fwd.y is out
    plain: Any = bn.batch_norm_backward(dy, fwd)
    into = bn.Gradients(np.ones_like(x), np.ones(C), None, np.full_like(x, 9.0))
    g: Any = bn.batch_norm_backward(dy, fwd, dx="add", dgamma="add", dbeta="null", into=into)
    assert g.dx is into.dx
    assert g.dbeta is None
    assert_bits(g.dx, np.where(weights[:, None] > 0, plain.dx + 1.0, 1.0))
    assert_bits(g.dgamma, plain.dgamma + 1.0)
    assert_bits(g.dresidual, plain.dresidual)


def test_refusals() -> None:
    """Negative, NaN and infinite weights, other dtypes and shapes; exact sums; nothing counts."""
    x, weights = np.ones((2, C, 4), np.float32), np.ones((2, 4))
    for wrong in (-1e-9, np.nan, np.inf):
        weights[1, 2] = wrong
        with pytest.raises(RangeError, match=r"mask must hold weights of 0 or greater"):
            bn.batch_norm(x, mask=weights)
    with pytest.raises(RangeError, match="with a finite sum, got inf"):
        bn.batch_norm(x, mask=np.full((2, 4), 1e308))
    with pytest.raises(ShapeError, match="let at least one position count, got False or 0"):
        bn.batch_norm(x, mask=np.zeros((2, 4)))
    with pytest.raises(DtypeError, match="a float dtype for weights, got int64"):
        bn.batch_norm(x, mask=np.ones((2, 4), np.int64))
    with pytest.raises(ShapeError, match=r"mask must have shape \(2, 4\)"):
        bn.batch_norm(x, mask=np.ones((2, C, 4)))
    weights[1, 2] = 2.0
    with pytest.raises(RangeError, match="weights that are 0 or equal with sums='exact'"):
        bn.batch_norm(x, mask=weights, sums="exact")
    masked = bn.batch_norm(x, mask=weights > 1)
    with pytest.raises(RangeError, match="mask_tangent"):
        bn.batch_norm_jvp(x, masked, mask_tangent=weights)
    weighted = bn.batch_norm(x, mask=weights)
    with pytest.raises(ShapeError, match="ddmask"):
        bn.batch_norm_double_backward(x, x, weighted, ddmask=np.ones(3))


def test_results_show_themselves() -> None:
    """The line of a weighted result and of its gradients, which has dmask."""
    x = np.random.default_rng(0).normal(size=(2, C, 4))
    fwd = bn.batch_norm(x, mask=np.arange(8.0).reshape(2, 4))
    assert "7 values" in repr(fwd)
    assert "dmask (2, 4)" in repr(bn.batch_norm_backward(x, fwd))
    assert "mask (2, 4)" in repr(bn.batch_norm_double_backward(x, x, fwd))
