"""The law of exact sums: correctly rounded, and bitwise identical everywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import backnorm as bn
from backnorm import reference
from backnorm.errors import UnknownNameError
from backnorm.kernels.activations import NAMES
from backnorm.testing.cases import BORDERS, DTYPES, KERNELS, LAYOUTS, LEVELS, SHAPES, Batch, make
from kernels.exactly import DISTRIBUTIONS, correctly_rounded, digest, results

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm._types import AnyArray

by_kernel = pytest.mark.parametrize("kernel", KERNELS)
by_level = pytest.mark.parametrize("level", LEVELS)
by_distribution = pytest.mark.parametrize("name", DISTRIBUTIONS)
by_activation = pytest.mark.parametrize("activation", NAMES)

SHARED_LAYOUTS = (
    "contiguous",
    "channels last",
    "channels first",
    "some channels of a larger array",
)


@pytest.fixture
def threads() -> Iterator[None]:
    """Give back the number of threads afterwards."""
    before = bn.get_num_threads()
    yield
    bn.set_num_threads(before)


def drawn(name: str, shape: tuple[int, ...], dtype: str = "float32", seed: int = 3) -> Batch:
    """A batch with x and dy of a distribution."""
    rng = np.random.default_rng(seed)
    batch = make(shape, dtype)
    with np.errstate(over="ignore"):
        x, dy = (DISTRIBUTIONS[name](rng, shape).astype(batch.x.dtype) for _ in range(2))
    return replace(batch, x=x, dy=dy)


def permuted(batch: Batch) -> tuple[Batch, AnyArray]:
    """The samples in another order, and the order that undoes it."""
    order = np.random.default_rng(8).permutation(len(batch.x))
    moved = {name: getattr(batch, name)[order] for name in ("x", "dy", "residual")}
    return replace(batch, **moved), np.argsort(order)


@by_kernel
@by_distribution
def test_statistics_and_sums_are_correctly_rounded(kernel: str, name: str) -> None:
    """Mean, variance and dbeta are the nearest float64 of the exact value."""
    for shape in ((7, 3, 41), (9, 2, 150), (130, 5)):
        batch = drawn(name, shape)
        fwd = bn.batch_norm(batch.x, batch.gamma, batch.beta, sums="exact", kernel=kernel)
        want = correctly_rounded(batch.x, batch.dy)
        assert fwd.mean.tolist() == want["mean"].tolist()
        assert fwd.var.tolist() == want["var"].tolist()
        g = bn.batch_norm_backward(batch.dy, replace_parameters(fwd), kernel=kernel)
        assert g.dbeta is not None
        assert g.dbeta.tolist() == want["dbeta"].tolist()


def replace_parameters(fwd: bn.Forward) -> bn.Forward:
    """The same forward pass with float64 parameters, whose gradients are float64."""
    ones = np.ones(len(fwd.mean))
    return bn.Forward(fwd.y, fwd.n, fwd.saved._replace(gamma=ones, beta=ones))


@by_kernel
@by_distribution
@pytest.mark.parametrize("through", ["both", "none"])
def test_results_are_those_of_the_reference(kernel: str, name: str, through: Any) -> None:
    """Statistics, y, dx and the sums have the bits that the definition in fractions has."""
    batch = drawn(name, (6, 3, 5))
    if name in ("huge", "1e-45 to 3e38"):  # y and dx of the others stay in float32
        batch = replace(batch, dy=make((6, 3, 5)).dy, beta=np.zeros(3, np.float32))
    gamma, beta = batch.gamma.astype(np.float64), batch.beta.astype(np.float64)
    fwd = bn.batch_norm(batch.x, gamma, beta, sums="exact", kernel=kernel)
    g = bn.batch_norm_backward(batch.dy, fwd, through=through, kernel=kernel)
    want = reference.exact_backward(batch.dy, batch.x, gamma, through=through)
    statistics = reference.exact_statistics(batch.x)
    assert fwd.saved.statistics.tolist() == statistics.tolist()
    assert fwd.y.tolist() == reference.exact_forward(batch.x, gamma, beta).tolist()
    for result in ("dbeta", "dgamma", "dx"):
        assert getattr(g, result).tolist() == getattr(want, result).tolist()


@by_kernel
@by_activation
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_outputs_are_those_of_the_reference(kernel: str, activation: Any, dtype: str) -> None:
    """Also with a residual and an activation, and in 16 bits."""
    batch = make((5, 2, 9), dtype)
    options = {"activation": activation, "negative_slope": 0.01, "residual": batch.residual}
    y = bn.batch_norm(batch.x, batch.gamma, batch.beta, sums="exact", kernel=kernel, **options).y
    want = reference.exact_forward(batch.x, batch.gamma, batch.beta, **options)
    assert y.tolist() == want.tolist()


@pytest.mark.sampled(2)
@by_level
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*SHAPES.values(), *BORDERS.values()], ids=str)
def test_levels_have_the_bits_of_numpy(level: str, dtype: str, shape: Any) -> None:
    """Every level and the NumPy kernel agree, in each layout."""
    compare_with_numpy(make(shape, dtype), level, "leaky_relu")


@pytest.mark.sampled(2)
@by_level
@by_activation
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 4, 2, 300), (70, 20), (20, 6, 7, 7)], ids=str)
def test_activations_have_the_bits_of_numpy(
    level: str, activation: Any, dtype: str, shape: Any
) -> None:
    """The same with each activation."""
    compare_with_numpy(make(shape, dtype), level, activation)


def compare_with_numpy(batch: Batch, level: str, activation: Any) -> None:
    """Compare all results in two layouts, with a residual."""
    want = digest(results(batch, kernel="numpy", activation=activation, residual=batch.residual))
    for layout in ("contiguous", "channels last"):
        laid = batch.laid_out(layout)
        got = results(laid, kernel=level, activation=activation, residual=laid.residual)
        assert digest(got) == want, layout


@by_level
@by_distribution
@pytest.mark.parametrize("shape", [(40, 6, 7, 7), (3, 5, 70, 31), (300, 33)], ids=str)
def test_levels_have_the_bits_of_numpy_for_any_values(level: str, name: str, shape: Any) -> None:
    """Also where values lie outside of every window."""
    for activation in ("identity", "leaky_relu"):
        batch = drawn(name, shape)
        want = digest(results(batch, kernel="numpy", activation=activation))
        got = [
            digest(results(batch.laid_out(layout), kernel=level, activation=activation))
            for layout in ("contiguous", "channels last")
        ]
        assert got == [want, want]


@by_level
@pytest.mark.parametrize("mode", ["batch", "frozen"])
@pytest.mark.parametrize("through", ["both", "mean", "variance", "none"])
def test_modes_have_the_bits_of_numpy(level: str, mode: str, through: str) -> None:
    """Also with frozen statistics, and where the gradient does not go through a statistic."""
    batch = make((30, 5, 9, 4), offset=1e4)
    want = digest(results(batch, kernel="numpy", frozen=mode, through=through))
    assert digest(results(batch, kernel=level, frozen=mode, through=through)) == want


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("shape", [(24, 20, 14, 14), (6, 3, 60, 41), (64, 4, 7, 7)], ids=str)
def test_one_sha256(dtype: str, shape: Any) -> None:
    """Layouts, orders of samples, threads, kernels and levels give one sha256."""
    batch = make(shape, dtype)
    moved, back = permuted(batch)
    digests = set()
    for kernel in KERNELS:
        for count in (1, 2, 3):
            bn.set_num_threads(count)
            for layout in SHARED_LAYOUTS:
                laid = batch.laid_out(layout)
                digests.add(digest(results(laid, kernel=kernel, residual=laid.residual)))
            y, *others = results(moved, kernel=kernel, residual=moved.residual)
            *rest, dx, dgamma, dbeta, dresidual = others
            digests.add(digest([y[back], *rest, dx[back], dgamma, dbeta, dresidual[back]]))
    assert len(digests) == 1


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("shape", [(24, 20, 14, 14), (300, 3, 7), (5000, 2)], ids=str)
def test_float64_does_not_depend_on_threads_and_kernels(shape: Any) -> None:
    """Nor on whether channels are last; on the order of samples it does."""
    batch = make(shape, "float64")
    digests = set()
    for kernel in KERNELS:
        for count in (1, 2):
            bn.set_num_threads(count)
            for layout in SHARED_LAYOUTS:
                digests.add(digest(results(batch.laid_out(layout), kernel=kernel)))
    assert len(digests) == 1


@by_kernel
@pytest.mark.parametrize("layout", LAYOUTS)
def test_adding_to_buffers(kernel: str, layout: str) -> None:
    """What is added to is rounded once more, the same everywhere."""
    batch = make((9, 5, 8, 6)).laid_out(layout)
    fwd = bn.batch_norm(batch.x, activation="leaky_relu", residual=batch.residual, sums="exact")
    digests = []
    for name in ("numpy", kernel):
        into = bn.Gradients(dx=batch.dy.copy(), dresidual=batch.x.copy())
        requests: Any = {"dx": "add", "dresidual": "add", "into": into, "kernel": name}
        g = bn.batch_norm_backward(batch.dy, fwd, **requests)
        assert g.dx is not None
        assert g.dresidual is not None
        digests.append(digest([g.dx, g.dresidual]))
    assert digests[0] == digests[1]


@by_kernel
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(6, 20, 30), (200, 20)], ids=str)
def test_what_is_not_finite_stays_in_its_channel(kernel: str, value: float, shape: Any) -> None:
    """All results of the other channels keep their bits."""
    batch = make(shape)
    clean = results(batch, kernel=kernel)
    for name in ("x", "dy"):
        array = getattr(batch, name).copy()
        array[3, 4] = value
        changed = results(replace(batch, **{name: array}), kernel=kernel)
        for now, before in zip(changed, clean, strict=True):
            others = np.arange(20) != 4
            axis = 1 if now.ndim > 1 else 0
            assert now.compress(others, axis).tobytes() == before.compress(others, axis).tobytes()
        assert not np.isfinite(changed[5]).all()


@by_kernel
def test_unknown_law(kernel: str) -> None:
    """The error names the laws that exist."""
    with pytest.raises(UnknownNameError, match="sums must be one of 'float64', 'exact'"):
        bn.batch_norm(np.ones((2, 1)), sums="float32", kernel=kernel)  # type: ignore[arg-type]
