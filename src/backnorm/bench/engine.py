"""The engine's calls for one case, checked against the reference before they are timed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from backnorm import ops, reference
from backnorm.errors import BenchmarkError, NotInstalledError
from backnorm.kernels import memory, native_kernel
from backnorm.results import Forward, Gradients

if TYPE_CHECKING:
    from collections.abc import Callable

    EngineCall = Callable[[], Forward | Gradients]

    from backnorm._types import Activation, AnyArray, Shape

__all__ = ["AUTOGRAD", "OPERATIONS", "CaseArrays", "autograd_calls", "calls", "data"]

OPERATIONS = ("forward", "backward", "forward_relu", "forward_residual_relu")
AUTOGRAD = "autograd"
"""Forward and backward of PyTorch modules, this package's and PyTorch's own."""

# Roundings of one result that are let pass before timing: enough to stop a wrong kernel from being
# timed; what the numbers really promise is held by the tests.
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
    kind = _format(dtype)
    rng = np.random.default_rng(0)
    x, dy, residual = (_laid_out(rng, shape, layout, kind) for _ in range(3))
    wide = np.float64 if kind == np.float64 else np.float32
    gamma = rng.uniform(0.5, 1.5, shape[1]).astype(wide)
    out = memory.empty_like(x)
    out[...] = 0
    return CaseArrays(x, dy, residual, gamma, gamma - 1, out)


def _format(dtype: str) -> np.dtype[np.generic]:
    if dtype == "bfloat16":
        import ml_dtypes  # noqa: PLC0415 - needed for this format alone

        kind: np.dtype[np.generic] = np.dtype(ml_dtypes.bfloat16)
        return kind
    return np.dtype(dtype)


def _laid_out(
    rng: np.random.Generator, shape: Shape, layout: str, kind: np.dtype[np.generic]
) -> AnyArray:
    values = rng.standard_normal(shape, dtype=np.float32).astype(kind)
    if layout == "nchw" or len(shape) == 2:  # noqa: PLR2004 - (N, C) is both layouts at once
        return values
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 1, -1)), -1, 1)


def calls(op: str, arrays: CaseArrays) -> dict[str, Callable[[], object]]:
    """Return what is timed: recycled output, given output, and two copies of the same bytes."""
    recycled, given = _engine(op, arrays)
    _check(op, arrays, _found(given()))
    timed = {"backnorm": recycled, "backnorm (out given)": given}
    plain, streaming = _copies(arrays)
    return {**timed, "copy (plain)": plain, "copy (streaming)": streaming}


def autograd_calls(
    arrays: CaseArrays, threads: int
) -> tuple[dict[str, Callable[[], object]], dict[str, Callable[[], object]]]:
    """Return what is timed of ours, with two copies of x, and of PyTorch, outputs allocated."""
    if find_spec("torch") is None:
        raise NotInstalledError.package("torch", "torch", f"--op {AUTOGRAD}")
    from backnorm.torch.bench.layer_step import LayerStep  # noqa: PLC0415 - needed for this alone

    given = (arrays.x, arrays.dy, arrays.gamma, arrays.beta)
    own, stock = (LayerStep(*given, own=ours, threads=threads) for ours in (True, False))
    _check(AUTOGRAD, arrays, own.results())
    plain, streaming = _copies(arrays)
    return {"backnorm": own, "copy (plain)": plain, "copy (streaming)": streaming}, {"torch": stock}


def _found(result: Forward | Gradients) -> dict[str, AnyArray]:
    """Return what is compared with the reference."""
    if isinstance(result, Forward):
        return {"y": result.y}
    return {} if result.dx is None else {"dx": result.dx}


def _engine(op: str, arrays: CaseArrays) -> tuple[EngineCall, EngineCall]:
    if op == "backward":
        fwd = ops.batch_norm(arrays.x, arrays.gamma, arrays.beta)
        into = Gradients(dx=arrays.out)
        return (
            lambda: ops.batch_norm_backward(arrays.dy, fwd),
            lambda: ops.batch_norm_backward(arrays.dy, fwd, into=into),
        )
    activation: Activation = "relu" if op.endswith("relu") else "identity"
    residual = arrays.residual if "residual" in op else None

    def forward(out: AnyArray | None) -> Forward:
        return ops.batch_norm(
            arrays.x, arrays.gamma, arrays.beta, activation=activation, residual=residual, out=out
        )

    return lambda: forward(None), lambda: forward(arrays.out)


def _copies(arrays: CaseArrays) -> tuple[Callable[[], object], Callable[[], object]]:
    source, target = (array.ravel(order="K").view(np.uint8) for array in (arrays.x, arrays.out))
    return (
        lambda: native_kernel.copy(target, source, streaming=False),
        lambda: native_kernel.copy(target, source, streaming=True),
    )


def _check(op: str, arrays: CaseArrays, found: dict[str, AnyArray]) -> None:
    """Compare three channels with the reference: channels do not depend on each other."""
    c = arrays.x.shape[1]
    some = sorted({0, c // 2, c - 1})
    exact = _exact(op, arrays, some)
    for name, got in found.items():
        part = got[some] if got.ndim == 1 else got[:, some]
        _compare(op, arrays, part, exact[name])


def _exact(op: str, arrays: CaseArrays, some: list[int]) -> dict[str, AnyArray]:
    """Return what some channels must give."""
    x, gamma, beta = arrays.x[:, some], arrays.gamma[some], arrays.beta[some]
    g = reference.backward(arrays.dy[:, some], x, gamma)
    y = reference.forward(x, gamma, beta).y
    if "residual" in op:
        y = y + arrays.residual[:, some].astype(np.float64)
    if "relu" in op:
        y = np.maximum(y, 0)
    named = {"y": y, "dx": g.dx, "dgamma": g.dgamma, "dbeta": g.dbeta}
    return {name: value for name, value in named.items() if value is not None}


def _compare(op: str, arrays: CaseArrays, got: AnyArray, exact: AnyArray) -> None:
    difference = float(np.abs(got.astype(np.float64) - exact).max() / np.abs(exact).max())
    unit = 2.0**-8 if arrays.x.dtype.name == "bfloat16" else float(np.finfo(arrays.x.dtype).eps)
    if not difference <= CHECK_UNITS * unit:
        raise BenchmarkError.wrong_result(op, arrays.x.shape, difference, CHECK_UNITS * unit)
