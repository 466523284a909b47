"""Exact sums in windows: those of usual values fit, and come back unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm.kernels import exact_limbs, exact_windows, native_kernel
from backnorm.kernels._integers import products, values
from backnorm.kernels._limbs import read_moments, write_moments
from kernels.exactly import DISTRIBUTIONS

if TYPE_CHECKING:
    from backnorm._types import Float64Array, Int64Array
    from backnorm.kernels.exact_windows import Window

SHAPE = (16, 3, 200)
N = SHAPE[0] * SHAPE[2]
EPS = 1e-5

USUAL = (
    "normal",
    "mean/std 10",
    "mean/std 1e3",
    "mean/std 1e6",
    "relu",
    "uniform",
    "Laplace",
    "Student t3",
    "Cauchy",
    "lognormal(0,1)",
    "lognormal(0,2)",
    "bfloat16 normal",
    "1e-3 and noise",
    "normal, one outlier",
    "constant",
    "zero",
)
"""Distributions of which sums fit the windows of a batch before."""

BUILT = bool(native_kernel.levels())
by_way = pytest.mark.parametrize(
    "native",
    [
        pytest.param(True, marks=pytest.mark.skipif(not BUILT, reason="the C++ part is not built")),
        False,
    ],
    ids=["native", "python"],
)


@pytest.fixture
def way(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a parameter
    """Without the C++ part the windows are filled in Python."""
    if not native:
        monkeypatch.setattr(native_kernel, "_native", None)


def limbs_of(name: str, seed: int) -> tuple[Int64Array, Float64Array]:
    """Limbs of a batch, and its statistics."""
    with np.errstate(over="ignore"):
        x = DISTRIBUTIONS[name](np.random.default_rng(seed), SHAPE).astype(np.float32)
    limbs = exact_limbs.for_moments(SHAPE[1])
    write_moments(values(x), products(x, x), limbs)
    return limbs, exact_limbs.statistics_of(limbs, N, EPS)


def window_of(name: str) -> Window:
    """The window that another batch has placed."""
    return exact_windows.for_moments(limbs_of(name, 0)[1], N)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", USUAL)
@by_way
def test_usual_sums_fit_and_come_back(name: str) -> None:
    """Those of several parts are added in their windows."""
    window, parts = window_of(name), [limbs_of(name, seed)[0] for seed in (1, 2, 3)]
    narrow = [exact_windows.narrowed(limbs, window) for limbs in parts]
    assert all(each is not None for each in narrow)
    total = exact_windows.widened(sum(narrow), window, parts[0])  # type: ignore[arg-type]
    assert read_moments(total) == read_moments(sum(parts))  # type: ignore[arg-type]
    assert (narrow[0].shape, parts[0].shape) == ((3, 6), (3, 30))  # type: ignore[union-attr]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", ["1e-45 to 3e38", "subnormal", "huge"])
@by_way
def test_other_sums_do_not_fit(name: str) -> None:
    """They are far from those that were expected, above or below."""
    assert exact_windows.narrowed(limbs_of(name, 1)[0], window_of("normal")) is None


@pytest.mark.usefixtures("way")
@by_way
def test_what_is_not_finite_does_not_fit() -> None:
    """It needs the whole limbs."""
    limbs, _ = limbs_of("normal", 1)
    assert exact_windows.narrowed(limbs, window_of("normal")) is not None
    limbs[1, -1] = 1
    assert exact_windows.narrowed(limbs, window_of("normal")) is None


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("sign", [1, -1])
@by_way
def test_borders(sign: int) -> None:
    """The largest sum fits and the next one does not; so does the smallest one."""
    window = window_of("normal")
    low = int(window.low[0, 0])
    for exponent, factor, fits in (
        (low, 1, True),
        (low - 1, 1, False),
        (low, 2**91 - 1, True),
        (low, 2**91 + 1, False),
    ):
        limbs = exact_limbs.for_moments(3)
        whole = sign * factor << (exponent + 149)
        for k in range(9):
            limbs[0, k] = whole & 0xFFFFFFFF
            whole >>= 32
        limbs[0, 9] = whole
        narrow = exact_windows.narrowed(limbs, window)
        assert (narrow is not None) is fits
        if narrow is not None:
            assert np.array_equal(exact_windows.widened(narrow, window, limbs), limbs)


def test_windows_of_different_batches_are_told_apart() -> None:
    """And those of the same one are the same."""
    digests = {window_of(name).digest for name in ("normal", "mean/std 1e3", "mean/std 1e6")}
    assert len(digests) == 3
    assert window_of("normal").digest == window_of("normal").digest < 2**20
