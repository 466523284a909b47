"""What holds for any input, whatever the numbers."""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import backnorm as bn
from backnorm.testing.budget import assert_bits, assert_within_budget
from backnorm.testing.cases import ACTIVATIONS, KERNELS, LAYOUTS, Batch, make
from backnorm.testing.strategies import MOST_CONDITION, batches, condition, layouts, shapes

if TYPE_CHECKING:
    from backnorm._types import AnyArray

few = settings(max_examples=60)
kernels = st.sampled_from(KERNELS)
activations = st.sampled_from(ACTIVATIONS)
seeds = st.integers(0, 2**32 - 1)

EPS = 1e-5


def others(x: AnyArray) -> tuple[int, ...]:
    """All axes but that of the channels."""
    return tuple(axis for axis in range(x.ndim) if axis != 1)


def along(values: AnyArray, x: AnyArray) -> AnyArray:
    """Per-channel values, shaped to meet x."""
    return values.reshape((-1,) + (1,) * (x.ndim - 2))


def run(batch: Batch, kernel: str) -> tuple[bn.Forward, bn.Gradients]:
    """Forward and backward."""
    fwd = bn.batch_norm(batch.x, batch.gamma, batch.beta, kernel=kernel)
    return fwd, bn.batch_norm_backward(batch.dy, fwd, kernel=kernel)


def sizes(batch: Batch, fwd: bn.Forward) -> tuple[AnyArray, AnyArray]:
    """The largest of what y, and of what dx is added up from, in each channel."""
    x_hat = (batch.x - along(fwd.mean, batch.x)) * along(fwd.inv_std, batch.x)
    d = along(batch.gamma * fwd.inv_std, batch.x) * batch.dy
    v = np.abs(x_hat).max(axis=others(d)) * np.abs(d * x_hat).mean(axis=others(d))
    y = np.abs(batch.gamma) * np.abs(x_hat).max(axis=others(d)) + np.abs(batch.beta)
    return y, np.abs(d).max(axis=others(d)) + v


def rounded(batch: Batch) -> Batch:
    """The same with x, of std 1, as multiples of 2^-20: whole numbers can be added exactly."""
    x = np.round(np.clip(batch.x, -500, 500) * 2.0**20) / 2.0**20
    x[0] += 1.0  # what was clipped would else be constant
    return Batch(x, *list(vars(batch).values())[1:])


@few
@given(batches(), kernels)
def test_drawn_batches_are_well_conditioned(batch: Batch, kernel: str) -> None:
    """y has mean beta, and the variance of gamma*x_hat; else the properties below say nothing."""
    assert condition(batch.x) <= MOST_CONDITION
    fwd, _ = run(batch, kernel)
    size, _ = sizes(batch, fwd)
    assert_within_budget(fwd.y.mean(axis=others(fwd.y)), batch.beta, scale=fwd.n * size)
    want = batch.gamma**2 * (1 - EPS * fwd.inv_std**2)
    size = size**2 + batch.gamma**2
    assert_within_budget(fwd.y.var(axis=others(fwd.y)), want, scale=fwd.n * size)


@few
@given(shapes(), st.integers(-500, 500), kernels, layouts, seeds)
def test_a_shift_of_x_changes_nothing(
    shape: tuple[int, ...], shift: int, kernel: str, layout: str, seed: int
) -> None:
    """y, dx and dgamma of x + constant are those of x; the mean moves by the constant."""
    batch = rounded(make(shape, "float64", seed=seed)).laid_out(layout)
    moved = Batch(batch.x + shift, *list(vars(batch).values())[1:])
    (fwd, g), (other, other_g) = run(batch, kernel), run(moved, kernel)
    size_y, size_dx = sizes(batch, fwd)
    assert_within_budget(other.y, fwd.y, channel_axis=1, scale=size_y)
    assert_within_budget(other_g.dx, g.dx, channel_axis=1, scale=size_dx)
    assert_within_budget(other.mean, fwd.mean + shift)


@few
@given(batches(), st.integers(-20, 20), kernels)
def test_a_power_of_two_changes_no_bit(batch: Batch, power: int, kernel: str) -> None:
    """With x and eps scaled alike y is the same, and dx is divided by the scale, exactly."""
    factor = 2.0**power
    batch = batch.laid_out("contiguous")  # a product is, and another layout has other last digits
    fwd = bn.batch_norm(batch.x, batch.gamma, batch.beta, kernel=kernel)
    scaled = bn.batch_norm(
        batch.x * factor, batch.gamma, batch.beta, eps=EPS * factor**2, kernel=kernel
    )
    g, scaled_g = (bn.batch_norm_backward(batch.dy, f, kernel=kernel) for f in (fwd, scaled))
    assert_bits(scaled.y, fwd.y)
    assert_bits(scaled_g.dx * factor, g.dx)
    assert_bits(scaled_g.dgamma, g.dgamma)


@few
@given(batches(), kernels)
def test_gradient_sums_to_zero(batch: Batch, kernel: str) -> None:
    """sum(dx) = 0: a shift of x changes no loss."""
    fwd, g = run(batch, kernel)
    _, size = sizes(batch, fwd)
    assert_within_budget(g.dx.sum(axis=others(g.dx)), np.zeros_like(fwd.mean), scale=fwd.n * size)


@few
@given(batches(), st.sampled_from([0.0, 1e-5, 1.0, 1e3]), kernels)
def test_gradient_along_x_hat_is_what_eps_leaves(batch: Batch, eps: float, kernel: str) -> None:
    """sum(x_hat*dx) = eps*inv_std^2*sum(d*x_hat): 0 without eps, for then scale changes nothing."""
    fwd = bn.batch_norm(batch.x, batch.gamma, eps=eps, kernel=kernel)
    g = bn.batch_norm_backward(batch.dy, fwd, kernel=kernel)
    x_hat = (batch.x - along(fwd.mean, batch.x)) * along(fwd.inv_std, batch.x)
    d = along(batch.gamma * fwd.inv_std, batch.x) * batch.dy
    got = (x_hat * g.dx).sum(axis=others(d))
    want = eps * fwd.inv_std**2 * (d * x_hat).sum(axis=others(d))
    _, size = sizes(batch, fwd)
    # x_hat is made here with one rounding of the mean, which the condition magnifies.
    size = size * fwd.n * np.abs(x_hat).max(axis=others(d)) * condition(batch.x)
    assert_within_budget(got, want, scale=size)


@few
@given(batches(), kernels)
def test_gradient_of_beta_is_the_sum_of_dy(batch: Batch, kernel: str) -> None:
    """Against a sum without rounding."""
    _, g = run(batch, kernel)
    rows = np.moveaxis(batch.dy, 1, 0).reshape(batch.dy.shape[1], -1)
    want = np.array([fsum(row) for row in rows])
    assert_within_budget(g.dbeta, want, scale=np.abs(rows).sum(axis=1))


@few
@given(batches(), st.integers(-8, 8), kernels)
def test_a_constant_in_dy_changes_no_dx(batch: Batch, constant: int, kernel: str) -> None:
    """dx is that of dy without its mean; dbeta grows by n times the constant."""
    fwd, g = run(batch, kernel)
    other = bn.batch_norm_backward(batch.dy + constant, fwd, kernel=kernel)
    _, size = sizes(batch, fwd)
    size = size + 9 * abs(constant) * np.abs(batch.gamma * fwd.inv_std)
    assert_within_budget(other.dx, g.dx, channel_axis=1, scale=size)
    added = np.abs(batch.dy).sum(axis=others(batch.dy)) + fwd.n * abs(constant)
    assert_within_budget(other.dbeta, g.dbeta + fwd.n * constant, scale=added)


@few
@given(batches(), kernels, seeds)
def test_the_order_of_the_batch_does_not_matter(batch: Batch, kernel: str, seed: int) -> None:
    """Samples permuted, results permuted."""
    order = np.random.default_rng(seed).permutation(batch.x.shape[0])
    fwd, g = run(batch, kernel)
    rest = list(vars(batch).values())[3:]
    mixed = Batch(batch.x[order], batch.dy[order], batch.residual[order], *rest)
    other, other_g = run(mixed, kernel)
    size_y, size_dx = sizes(batch, fwd)
    worse = condition(batch.x)  # float64 itself: another order of the sum, another last digit
    assert_within_budget(other.y, fwd.y[order], channel_axis=1, scale=size_y * worse)
    assert_within_budget(other_g.dx, g.dx[order], channel_axis=1, scale=size_dx * worse)


@few
@given(batches(dtype="float32"), layouts, kernels, activations)
def test_the_layout_does_not_matter(
    batch: Batch, layout: str, kernel: str, activation: str
) -> None:
    """Any strides give what contiguous arrays give, to one rounding."""
    placed = batch.laid_out(layout)
    fwd, other = (
        bn.batch_norm(b.x, b.gamma, b.beta, activation=activation, kernel=kernel)
        for b in (batch, placed)
    )
    g, other_g = (
        bn.batch_norm_backward(b.dy, f, kernel=kernel) for b, f in ((batch, fwd), (placed, other))
    )
    size_y, size_dx = sizes(batch, fwd)
    assert_within_budget(other.y, fwd.y.astype("f8"), channel_axis=1, scale=size_y)
    assert_within_budget(other_g.dx, g.dx.astype("f8"), channel_axis=1, scale=size_dx)


@few
@given(batches(least_n=6), st.integers(1, 5), kernels)
def test_statistics_of_parts_merge_to_those_of_the_whole(
    batch: Batch, cut: int, kernel: str
) -> None:
    """Mean and variance of two parts of a batch give those of the batch (Chan)."""
    whole, one, two = (
        bn.batch_norm(part, kernel=kernel) for part in (batch.x, batch.x[:cut], batch.x[cut:])
    )
    assert one.n + two.n == whole.n
    share = two.n / whole.n
    step = two.mean - one.mean
    size = np.abs(batch.x).max(axis=others(batch.x))
    assert_within_budget(whole.mean, one.mean + share * step, scale=size)
    var = (1 - share) * one.var + share * two.var + share * (1 - share) * step**2
    # A rounding of the means, of the size of x, times what they differ by.
    assert_within_budget(whole.var, var, scale=var + size * np.abs(step))


@few
@given(batches(), kernels)
def test_the_paths_add_up(batch: Batch, kernel: str) -> None:
    """dx through both and through none are together those through the mean and the variance."""
    fwd, g = run(batch, kernel)
    none, mean, variance = (
        bn.batch_norm_backward(batch.dy, fwd, through=through, kernel=kernel).dx
        for through in ("none", "mean", "variance")
    )
    _, size = sizes(batch, fwd)
    assert_within_budget(g.dx + none, mean + variance, channel_axis=1, scale=size)


@few
@given(batches(), kernels, st.sampled_from(sorted(LAYOUTS)))
def test_gradient_is_linear_in_dy(batch: Batch, kernel: str, layout: str) -> None:
    """dx of 2*dy1 - dy2 is 2*dx1 - dx2."""
    fwd, g = run(batch, kernel)
    second = LAYOUTS[layout](batch.residual)
    other = bn.batch_norm_backward(second, fwd, kernel=kernel)
    both = bn.batch_norm_backward(2 * batch.dy - second, fwd, kernel=kernel)
    _, size = sizes(batch, fwd)
    _, size_two = sizes(Batch(batch.x, second, *list(vars(batch).values())[2:]), fwd)
    want = 2 * g.dx - other.dx
    assert_within_budget(both.dx, want, channel_axis=1, scale=2 * size + size_two)
