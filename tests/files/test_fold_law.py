"""The arithmetic of folding, against exact numbers rounded once."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files._dtypes import dtype_named, rounded
from backnorm.convert.files.folding._law import KernelAxes, fold_law_of
from backnorm.errors import ConversionError

C = 7
DTYPES = ["float16", "bfloat16", "float32"]

PRECISION = {"float16": (11, -14), "bfloat16": (8, -126), "float32": (24, -126)}
"""The bits of a significand, and the exponent of the least normal number."""

EPS = {"torch": ("eps", 1e-3), "onnx-15": ("epsilon", 1e-3), "caffe": ("eps", 1e-3)}


def root(value: Fraction) -> Fraction:
    """A square root to 200 bits."""
    return Fraction(isqrt((value.numerator << 400) // value.denominator), 1 << 200)


def nearest(value: Fraction, dtype: str) -> Fraction:
    """The nearest number of a dtype, ties to even."""
    bits, least = PRECISION[dtype]
    if value == 0:
        return value
    exponent = least
    while abs(value) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    step = Fraction(2) ** (exponent - bits + 1)
    return round(value / step) * step  # Fraction rounds ties to even


def exact(array: np.ndarray) -> list[Fraction]:
    """All values."""
    return [Fraction(float(value)) for value in array.astype(np.float64).ravel()]


def layer(dialect: str, dtype: str, rng: np.random.Generator) -> files.NormLayer:
    """A norm with random parameters."""
    names = {
        "torch": ("weight", "bias", "running_mean", "running_var"),
        "onnx-15": ("scale", "B", "input_mean", "input_var"),
        "caffe": ("gamma", "beta", "mean", "variance"),
    }[dialect]
    drawn = [*rng.normal(size=(3, C)), rng.uniform(0.1, 3.0, C)]
    state = {
        name: array.astype(dtype_named(dtype)) for name, array in zip(names, drawn, strict=True)
    }
    if dialect == "caffe":
        state["scale_factor"] = np.array([1.75], dtype_named(dtype))
        options = {"eps": 1e-3, "scale": True, "bias_term": True}
        return files.NormLayer("n", dialect, state, options)
    name, eps = EPS[dialect]
    return files.NormLayer("n", dialect, state, {name: eps})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dialect", EPS)
def test_folded_values_are_exact_ones_rounded_once(dialect: str, dtype: str) -> None:
    """w*gamma/sqrt(var + eps) and (b - mean)*gamma/sqrt(var + eps) + beta, for each channel."""
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed; make test has it")
    rng = np.random.default_rng(16)
    norm = layer(dialect, dtype, rng)
    kernel = rng.normal(size=(C, 5, 3)).astype(dtype_named(dtype))
    bias = rng.normal(size=C).astype(dtype_named(dtype))
    law = fold_law_of(norm)
    arrays = [exact(array) for array in norm.state.values()]
    divisor = arrays[4][0] if dialect == "caffe" else Fraction(1)
    eps = Fraction(1e-3 if dialect == "torch" else float(np.float32(1e-3)))
    wanted, shifted, alone = [], [], []
    for c in range(C):
        gamma, beta, mean, var = (array[c] for array in arrays[:4])
        factor = gamma / root(var / divisor + eps)
        wanted += [nearest(value * factor, dtype) for value in exact(kernel[c])]
        shifted.append(nearest((exact(bias)[c] - mean / divisor) * factor + beta, dtype))
        alone.append(nearest(beta - mean / divisor * factor, dtype))
    got = law.kernel(kernel, KernelAxes(0))
    assert got.dtype == kernel.dtype
    assert exact(got) == wanted
    assert exact(law.bias(bias, kernel.dtype)) == shifted
    assert exact(law.bias(None, kernel.dtype)) == alone


@pytest.mark.parametrize("dtype", DTYPES)
def test_float64_is_rounded_once(dtype: str) -> None:
    """Also just beside a tie, where rounding by way of float32 goes wrong."""
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed; make test has it")
    bits, least = PRECISION[dtype]
    rng = np.random.default_rng(0)
    ties = 1.0 + (2 * np.arange(8) + 1) * 2.0**-bits
    beside = np.concatenate([ties, ties + 2.0**-45, ties - 2.0**-45])
    small = rng.normal(size=50) * 2.0 ** (least - rng.integers(0, bits, 50))
    values = np.concatenate([beside, -beside, small, rng.normal(size=200), [0.0, 1e-60, -1e-60]])
    got = rounded(values, dtype_named(dtype))
    assert exact(got) == [nearest(value, dtype) for value in exact(values)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_too_large_becomes_infinite(dtype: str) -> None:
    """And NaN stays NaN."""
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed; make test has it")
    got = rounded(np.array([1e300, -1e300, np.inf, np.nan]), dtype_named(dtype)).astype(np.float64)
    np.testing.assert_array_equal(got, [np.inf, -np.inf, np.inf, np.nan])


def test_a_transposed_kernel_has_its_channels_on_axis_1() -> None:
    """With groups, the rows of each group have other output channels."""
    axes = KernelAxes(1, groups=2)
    assert axes.channels((4, 3, 5)) == 6
    spread = axes.spread(np.arange(6.0), (4, 3, 5))
    assert spread[:, :, 0].tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5], [3, 4, 5]]


@pytest.mark.parametrize(
    ("axes", "shape"), [(KernelAxes(1), (4,)), (KernelAxes(1, 3), (4, 2)), (KernelAxes(0, 0), (4,))]
)
def test_a_shape_that_a_kernel_cannot_have_is_for_no_channels(
    axes: KernelAxes, shape: tuple[int, ...]
) -> None:
    """Too few axes, or rows that the groups do not divide."""
    assert axes.channels(shape) == -1


def test_a_state_that_is_not_finite_is_refused() -> None:
    """Nobody could tell afterwards where it came from."""
    norm = layer("torch", "float32", np.random.default_rng(0))
    norm.state["running_mean"][2] = np.nan
    with pytest.raises(ConversionError, match=r"^running_mean of torch must be finite"):
        fold_law_of(norm)


def test_gamma_that_is_fixed_counts_as_1() -> None:
    """MXNet's default: what is stored is not used."""
    c = np.full(2, 4.0, np.float32)
    state = {"gamma": c, "beta": c, "moving_mean": c, "moving_var": c}
    for fixed, factor in ((True, 0.5), (False, 2.0)):
        norm = files.NormLayer("n", "mxnet", state, {"fix_gamma": fixed, "eps": 0.0})
        assert fold_law_of(norm).factor.tolist() == [factor, factor]


def test_a_layer_without_gamma_and_beta() -> None:
    """PyTorch's affine=False."""
    c = np.full(2, 4.0, np.float32)
    options = {"affine": False, "eps": 0.0}
    law = fold_law_of(files.NormLayer("n", "torch", {"running_mean": c, "running_var": c}, options))
    assert (law.factor.tolist(), law.beta.tolist()) == ([0.5, 0.5], [0.0, 0.0])
