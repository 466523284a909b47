"""The calls of the engine for one case, checked against the reference before they are timed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from backnorm import ops, reference
from backnorm.bench import peers
from backnorm.errors import BenchmarkError, NotInstalledError
from backnorm.kernels import memory, native_kernel
from backnorm.results import Forward, Gradients
from backnorm.testing.cases import LAYOUTS, dtype_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    EngineCall = Callable[[], Forward | Gradients]

    from backnorm._types import Activation, AnyArray, Shape, SumLaw

__all__ = [
    "AUTOGRAD",
    "JAX",
    "OPERATIONS",
    "CaseArrays",
    "autograd_calls",
    "calls",
    "checked_channels",
    "data",
    "exact",
    "jax_calls",
]

OPERATIONS = ("forward", "backward", "forward_relu", "forward_residual_relu")
AUTOGRAD = "autograd"
"""The operation of PyTorch modules, backnorm's and torch.nn's: forward and backward together."""
JAX = "jax"
"""The operation of compiled functions of JAX: forward and backward together."""

IN_MEMORY = {"nchw": "contiguous", "nhwc": "channels last"}

# Error that is allowed before timing, in units of rounding: it keeps a wrong kernel from being
# timed. The accuracy that the engine promises is tested elsewhere (backnorm.testing.budget).
CHECK_UNITS = 8


class CaseArrays(NamedTuple):
    """The arrays of one case."""

    x: AnyArray
    dy: AnyArray
    residual: AnyArray
    gamma: AnyArray
    beta: AnyArray
    out: AnyArray


def data(shape: Shape, layout: str, dtype: str) -> CaseArrays:
    """Return random arrays; with layout "nhwc" the channels lie last in memory."""
    rng = np.random.default_rng(0)
    x, dy, residual = (
        LAYOUTS[IN_MEMORY[layout]](
            rng.standard_normal(shape, dtype=np.float32).astype(dtype_of(dtype))
        )
        for _ in range(3)
    )
    parameter_dtype = np.float64 if dtype == "float64" else np.float32
    gamma = rng.uniform(0.5, 1.5, shape[1]).astype(parameter_dtype)
    out = memory.empty_like(x)
    out[...] = 0  # the first write to fresh memory is slow
    return CaseArrays(x, dy, residual, gamma, gamma - 1, out)


def calls(op: str, arrays: CaseArrays, sums: SumLaw = "float64") -> dict[str, Callable[[], object]]:
    """Return the timed calls: the engine, its output recycled or given, and two copies of x."""
    recycled, given = _engine(op, arrays, sums)
    result = given()
    _check(op, arrays, {"y": result.y} if isinstance(result, Forward) else {"dx": result.dx})
    timed = {"backnorm": recycled, "backnorm (out given)": given}
    plain, streaming = _copies(arrays)
    return {**timed, "copy (plain)": plain, "copy (streaming)": streaming}


def autograd_calls(
    arrays: CaseArrays, threads: int
) -> tuple[dict[str, Callable[[], object]], dict[str, Callable[[], object]]]:
    """Return the timed calls of ours, with two copies of x, and those of PyTorch."""
    if find_spec("torch") is None:
        raise NotInstalledError.package("torch", "torch", f"--op {AUTOGRAD}")
    from backnorm.torch.bench.layer_step import LayerStep  # noqa: PLC0415 - no other call needs it

    given = (arrays.x, arrays.dy, arrays.gamma, arrays.beta)
    own, stock = (LayerStep(*given, own=ours, threads=threads) for ours in (True, False))
    _check(AUTOGRAD, arrays, own.results())
    plain, streaming = _copies(arrays)
    return {"backnorm": own, "copy (plain)": plain, "copy (streaming)": streaming}, {"torch": stock}


def jax_calls(
    arrays: CaseArrays, layout: str
) -> tuple[dict[str, Callable[[], object]], dict[str, Callable[[], object]]]:
    """Return the timed calls of ours under JAX, with two copies of x, and those of the formulas."""
    if find_spec("jax") is None:
        raise NotInstalledError.package("jax", "jax", f"--op {JAX}")
    from backnorm.jax.layer_step import JaxStep  # noqa: PLC0415 - no other call needs it

    own = JaxStep(arrays.x, arrays.dy, arrays.gamma, arrays.beta, layout=layout)
    _check(JAX, arrays, own.results())
    plain, streaming = _copies(arrays)
    formulas: Callable[..., dict[str, Callable[[], object]]] = peers.jax_steps
    others = formulas(layout, arrays.x.dtype.name, list(arrays.x.shape))
    return {"backnorm": own, "copy (plain)": plain, "copy (streaming)": streaming}, others


def _engine(op: str, arrays: CaseArrays, sums: SumLaw) -> tuple[EngineCall, EngineCall]:
    if op == "backward":
        fwd = ops.batch_norm(arrays.x, arrays.gamma, arrays.beta, sums=sums)
        into = Gradients(dx=arrays.out)
        return (
            lambda: ops.batch_norm_backward(arrays.dy, fwd),
            lambda: ops.batch_norm_backward(arrays.dy, fwd, into=into),
        )
    activation: Activation = "relu" if op.endswith("relu") else "identity"
    residual = arrays.residual if "residual" in op else None

    def forward(out: AnyArray | None) -> Forward:
        return ops.batch_norm(
            arrays.x,
            arrays.gamma,
            arrays.beta,
            activation=activation,
            residual=residual,
            out=out,
            sums=sums,
        )

    return lambda: forward(None), lambda: forward(arrays.out)


def _copies(arrays: CaseArrays) -> tuple[Callable[[], object], Callable[[], object]]:
    source, target = (array.ravel(order="K").view(np.uint8) for array in (arrays.x, arrays.out))
    return (
        lambda: native_kernel.copy(target, source, streaming=False),
        lambda: native_kernel.copy(target, source, streaming=True),
    )


def _check(op: str, arrays: CaseArrays, results: Mapping[str, AnyArray | None]) -> None:
    channels = checked_channels(arrays)
    expected = exact(op, arrays, channels)
    for name, result in results.items():
        if result is not None:
            part = result[channels] if result.ndim == 1 else result[:, channels]
            _compare(op, arrays, part, expected[name])


def checked_channels(arrays: CaseArrays) -> list[int]:
    """Return the three channels to compare with the reference: none depends on another."""
    c = arrays.x.shape[1]
    return sorted({0, c // 2, c - 1})


def exact(op: str, arrays: CaseArrays, channels: list[int]) -> dict[str, Any]:
    """Return the exact results in some channels."""
    x, gamma, beta = arrays.x[:, channels], arrays.gamma[channels], arrays.beta[channels]
    g = reference.backward(arrays.dy[:, channels], x, gamma)
    y = reference.forward(x, gamma, beta).y
    if "residual" in op:
        y = y + arrays.residual[:, channels].astype(np.float64)
    if "relu" in op:
        y = np.maximum(y, 0)
    return {"y": y, "dx": g.dx, "dgamma": g.dgamma, "dbeta": g.dbeta}


def _compare(op: str, arrays: CaseArrays, part: AnyArray, expected: AnyArray) -> None:
    largest = np.abs(expected).max()
    difference = float(np.abs(part.astype(np.float64) - expected).max() / largest)
    unit = 2.0**-8 if arrays.x.dtype.name == "bfloat16" else float(np.finfo(arrays.x.dtype).eps)
    if not difference <= CHECK_UNITS * unit:
        raise BenchmarkError.wrong_result(op, arrays.x.shape, difference, CHECK_UNITS * unit)
