"""Parts of a batch: their exact sums are added as integers; the results are those of the whole."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

import backnorm as bn
from backnorm import kernels
from backnorm._layout import arrange, layout_of
from backnorm.kernels import exact_limbs
from backnorm.kernels._contract import BackwardCall, ForwardCall
from backnorm.kernels.activations import NAMES
from kernels.exactly import DISTRIBUTIONS, correctly_rounded

if TYPE_CHECKING:
    from backnorm._types import Activation, AnyArray, Float64Array, Int64Array

EPS, SLOPE = 1e-5, 0.3
KERNELS = [name for name in kernels.available() if name != "native-emulated"]
"""The program behind the emulated kernel takes no limbs."""
CUTS = ((), (3,), (0, 1), (1, 2, 5), (6, 6, 2))
"""Where seven samples are cut into parts: one of them may be empty."""

by_kernel = pytest.mark.parametrize("kernel", KERNELS)


class Whole(NamedTuple):
    """A batch, with gradients."""

    x: AnyArray
    dy: AnyArray
    gamma: Float64Array
    beta: Float64Array
    activation: Activation


class Results(NamedTuple):
    """What a batch gives; y and dx in the order of samples."""

    y: AnyArray
    dx: AnyArray
    statistics: Float64Array
    sums: Float64Array


def batch(name: str, activation: Activation, dtype: Any = np.float32) -> Whole:
    """Seven samples of five channels of 4x11 values."""
    rng = np.random.default_rng(7)
    shape = (7, 5, 4, 11)
    with np.errstate(over="ignore"):
        x, dy = (DISTRIBUTIONS[name](rng, shape).astype(dtype) for _ in range(2))
    gamma, beta = rng.uniform(0.5, 2.0, (2, 5))
    return Whole(x, dy, gamma, beta, activation)


def in_one(b: Whole, kernel: str) -> Results:
    """The results of one call on the whole batch."""
    parameters = (b.gamma.astype(b.x.dtype), b.beta.astype(b.x.dtype))
    fwd = bn.batch_norm(
        b.x,
        *parameters,
        eps=EPS,
        activation=b.activation,
        negative_slope=SLOPE,
        sums="exact",
        kernel=kernel,
    )
    g = bn.batch_norm_backward(b.dy, fwd, kernel=kernel)
    return Results(fwd.y, g.dx, fwd.saved.statistics, np.stack([g.dgamma, g.dbeta]))  # type: ignore[arg-type]


class Part:
    """Some samples of a batch, as one kernel takes them."""

    def __init__(self, b: Whole, samples: slice, kernel: str, *, channels_last: bool) -> None:
        self.kernel, self.activation = kernels.get(kernel), b.activation
        x = b.x[samples]
        if channels_last:
            x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        self.layout = layout_of(x, 1)
        self.x, self.dy = (arrange(a, self.layout) for a in (x, b.dy[samples]))
        self.gamma, self.beta = (v.astype(x.dtype).astype(np.float64) for v in (b.gamma, b.beta))
        self.y, self.dx = np.empty_like(self.x), np.empty_like(self.x)

    def call(self, statistics: Float64Array, **others: Any) -> ForwardCall:
        """A call of the forward pass."""
        return ForwardCall(
            x=self.x,
            y=self.y,
            residual=None,
            gamma=self.gamma,
            beta=self.beta,
            statistics=statistics,
            eps=EPS,
            activation=self.activation,
            negative_slope=SLOPE,
            law="exact",
            **others,
        )

    def add_moments(self, total: Int64Array) -> None:
        """Add the sums of the forward pass."""
        limbs = np.zeros_like(total)
        self.kernel.forward(self.call(np.empty((4, 5)), frozen=False, limbs=limbs))
        total += limbs

    def forward(self, statistics: Float64Array, n: int) -> None:
        """Compute y."""
        self.kernel.forward(self.call(statistics, frozen=True, total=n))

    def backward(self, statistics: Float64Array, n: int, **others: Any) -> None:
        """Write the sums of the backward pass, or dx."""
        given = {"dx": None, "sums": np.empty((2, 5)), **others}
        call = BackwardCall(
            dy=self.dy,
            x=self.x,
            y=None if self.activation == "identity" else self.y,
            dresidual=None,
            gamma=self.gamma,
            statistics=statistics,
            frozen=False,
            through_mean=True,
            through_variance=True,
            add_dx=False,
            add_dresidual=False,
            activation=self.activation,
            negative_slope=SLOPE,
            law="exact",
            total=n,
            **given,
        )
        self.kernel.backward(call)

    def values(self, arranged: AnyArray) -> AnyArray:
        """A result with the axes of the batch."""
        order = self.layout.order
        shape = [(-1, 5, 4, 11)[axis] for axis in order]
        return arranged.reshape(shape).transpose(np.argsort(order))


def in_parts(b: Whole, cuts: tuple[int, ...], names: tuple[str, ...]) -> Results:
    """The same, each part by the next of the kernels; every other one has its channels last."""
    edges = (0, *sorted(cuts), len(b.x))
    parts = [
        Part(b, slice(start, end), names[k % len(names)], channels_last=k % 2 == 0)
        for k, (start, end) in enumerate(itertools.pairwise(edges))
        if start < end
    ]
    native, n = names[0] != "numpy", b.x.size // 5
    moments = exact_limbs.for_moments(5)
    for part in parts:
        part.add_moments(moments)
    statistics = exact_limbs.statistics_of(moments, n, EPS, native=native)
    comoments = exact_limbs.for_comoments(5, b.activation)
    for part in parts:
        part.forward(statistics, n)
        limbs = np.zeros_like(comoments)
        part.backward(statistics, n, limbs=limbs)
        comoments += limbs
    sums = exact_limbs.sums_of(comoments, statistics, SLOPE, native=native)
    for part in parts:
        part.backward(statistics, n, dx=part.dx, sums=sums[:2], measures=sums[2])
    y, dx = (np.concatenate([p.values(getattr(p, name)) for p in parts]) for name in ("y", "dx"))
    with np.errstate(over="ignore"):
        return Results(y, dx, statistics, sums[:2].astype(b.x.dtype))


def assert_same(got: Results, want: Results) -> None:
    """All of it is bitwise identical; NaN is NaN."""
    for name, a, b in zip(Results._fields, got, want, strict=True):
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b, err_msg=name)
        assert np.array_equal(np.signbit(a), np.signbit(b)) or np.isnan(a).any(), name


@pytest.mark.parametrize("cuts", CUTS, ids=str)
@pytest.mark.parametrize("name", DISTRIBUTIONS)
@by_kernel
def test_parts_are_as_the_whole(kernel: str, name: str, cuts: tuple[int, ...]) -> None:
    """One call and parts of any size have the same bits."""
    b = batch(name, "identity")
    assert_same(in_parts(b, cuts, (kernel,)), in_one(b, kernel))


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@by_kernel
def test_activations(kernel: str, dtype: Any, activation: Activation) -> None:
    """Also with an activation, and in 16 bits."""
    b = batch("normal", activation, dtype)
    assert_same(in_parts(b, (2, 3), (kernel,)), in_one(b, kernel))


@by_kernel
def test_outputs_near_the_largest_float32(kernel: str) -> None:
    """The dtype of the computation is that of the whole batch, of which sums overflow float32."""
    b = batch("mean/std 1e6", "identity")
    b = b._replace(gamma=np.full(5, 2.0**124))
    assert_same(in_parts(b, (1, 2), (kernel,)), in_one(b, kernel))


def test_parts_by_different_kernels() -> None:
    """Each part may be computed by another kernel."""
    b = batch("mean/std 1e6", "leaky_relu")
    assert_same(in_parts(b, (1, 3, 4), (*KERNELS, "numpy")), in_one(b, "numpy"))


@pytest.mark.parametrize("values", [(np.inf,), (-np.inf,), (np.nan,), (np.inf, -np.inf)], ids=str)
@by_kernel
def test_what_is_not_finite_stays_in_its_channel(kernel: str, values: tuple[float, ...]) -> None:
    """Of x and of dy, in different parts too."""
    b = batch("normal", "identity")
    for k, value in enumerate(values):
        b.x[3 * k, 1, 2, 3] = value
        b.dy[3 * k, 2, 0, 0] = value
    with np.errstate(invalid="ignore"):
        assert_same(in_parts(b, (2,), (kernel,)), in_one(b, kernel))


@pytest.mark.parametrize("name", ["normal", "1e-45 to 3e38", "mean/std 1e6"])
@by_kernel
def test_true_values(kernel: str, name: str) -> None:
    """Mean, variance and dbeta are those of fractions, rounded once."""
    b = batch(name, "identity")
    got = in_parts(b, (1, 4), (kernel,))
    want = correctly_rounded(b.x, b.dy)
    np.testing.assert_array_equal(got.statistics[0], want["mean"])
    np.testing.assert_array_equal(got.statistics[2], want["var"])
    np.testing.assert_array_equal(got.sums[1], want["dbeta"].astype(np.float32))


def test_many_parts() -> None:
    """Limbs of a million parts do not overflow."""
    b = batch("huge", "identity")
    part = Part(b, slice(0, 1), "numpy", channels_last=False)
    part.x[...] = -3e38
    limbs, parts = exact_limbs.for_moments(5), 1_000_000
    part.add_moments(limbs)
    mean, low, var, _ = exact_limbs.statistics_of(limbs * parts, 44 * parts, EPS)
    assert (mean == part.x[0, 0, 0]).all()
    assert not low.any()
    assert not var.any()


def double_batch(name: str, activation: Activation) -> Whole:
    """Values in float64 that no narrower dtype holds."""
    b = batch("normal", activation, np.float64)
    if name == "all scales":
        rng = np.random.default_rng(8)
        x, dy = (10.0 ** rng.uniform(-320, low, b.x.shape) for low in (150, 150))
        return b._replace(x=np.copysign(x, b.x), dy=np.copysign(dy, b.dy))
    return b._replace(x=b.x + 1e12)


@pytest.mark.parametrize("activation", ["identity", "relu", "leaky_relu"])
@pytest.mark.parametrize("name", ["far from zero", "all scales"])
def test_float64(name: str, activation: Activation) -> None:
    """Sums of float64 are exact in their own limbs, for any cut."""
    b = double_batch(name, activation)
    want = correctly_rounded(b.x, b.dy)
    rows = []
    for cuts in ((), (2, 3)):
        edges = (0, *cuts, len(b.x))
        parts = [
            Part(b, slice(*edge), "numpy", channels_last=False)
            for edge in itertools.pairwise(edges)
        ]
        moments = exact_limbs.for_moments(5, double=True)
        for part in parts:
            part.add_moments(moments)
        statistics = exact_limbs.statistics_of(moments, b.x.size // 5, EPS)
        comoments = exact_limbs.for_comoments(5, activation, double=True)
        for part in parts:
            part.forward(statistics, b.x.size // 5)
            limbs = np.zeros_like(comoments)
            part.backward(statistics, b.x.size // 5, limbs=limbs)
            comoments += limbs
        rows.append([statistics, exact_limbs.sums_of(comoments, statistics, SLOPE)])
    for got in zip(*rows, strict=True):
        np.testing.assert_array_equal(*got)
    np.testing.assert_array_equal(rows[0][0][0], want["mean"])
    np.testing.assert_array_equal(rows[0][0][2], want["var"])
    if activation == "identity":
        np.testing.assert_array_equal(rows[0][1][1], want["dbeta"])
        np.testing.assert_array_equal(rows[0][1][0], dgamma(b, statistics))


def dgamma(b: Whole, statistics: Float64Array) -> list[float]:
    """The gradient of each channel, of fractions."""
    found = []
    for c, (mean, low, _, inv_std) in enumerate(statistics.T.tolist()):
        x, dy = ([Fraction(v) for v in a[:, c].ravel().tolist()] for a in (b.x, b.dy))
        exact = Fraction(mean) + Fraction(low)
        found.append(float(sum(g * (v - exact) for g, v in zip(dy, x, strict=True))) * inv_std)
    return found
