"""The engine's calls for one case, checked against the reference before they are timed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from backnorm import ops, reference
from backnorm.errors import BenchmarkError
from backnorm.kernels import memory, native_kernel
from backnorm.state import Forward, Gradients

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import Activation, AnyArray, Shape

__all__ = ["OPERATIONS", "Job", "calls", "data"]

OPERATIONS = ("forward", "backward", "forward_relu", "forward_residual_relu")

# Roundings of one result that are let pass before timing: enough to stop a wrong kernel from being
# timed; what the numbers really promise is held by the tests.
CHECK_UNITS = 8


class Job(NamedTuple):
    """The arrays of one case."""

    x: AnyArray
    dy: AnyArray
    residual: AnyArray
    gamma: AnyArray
    beta: AnyArray
    out: AnyArray


def data(shape: Shape, layout: str, dtype: str) -> Job:
    """Return random arrays; with layout "nhwc" the channels lie last in memory."""
    kind = _format(dtype)
    rng = np.random.default_rng(0)
    x, dy, residual = (_laid_out(rng, shape, layout, kind) for _ in range(3))
    wide = np.float64 if kind == np.float64 else np.float32
    gamma = rng.uniform(0.5, 1.5, shape[1]).astype(wide)
    out = memory.empty_like(x)
    out[...] = 0
    return Job(x, dy, residual, gamma, gamma - 1, out)


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


def calls(op: str, job: Job) -> dict[str, Callable[[], object]]:
    """Return what is timed: recycled output, given output, and two copies of the same bytes."""
    recycled, given = _engine(op, job)
    _check(op, job, given())
    timed = {"backnorm": recycled, "backnorm (out given)": given}
    plain, streaming = _copies(job)
    return {**timed, "copy (plain)": plain, "copy (streaming)": streaming}


def _engine(op: str, job: Job) -> tuple[Callable[[], object], Callable[[], object]]:
    if op == "backward":
        fwd = ops.batch_norm(job.x, job.gamma, job.beta)
        into = Gradients(dx=job.out)
        return (
            lambda: ops.batch_norm_backward(job.dy, fwd),
            lambda: ops.batch_norm_backward(job.dy, fwd, into=into),
        )
    activation: Activation = "relu" if op.endswith("relu") else "identity"
    residual = job.residual if "residual" in op else None

    def forward(out: AnyArray | None) -> Forward:
        return ops.batch_norm(
            job.x, job.gamma, job.beta, activation=activation, residual=residual, out=out
        )

    return lambda: forward(None), lambda: forward(job.out)


def _copies(job: Job) -> tuple[Callable[[], object], Callable[[], object]]:
    source, target = (array.ravel(order="K").view(np.uint8) for array in (job.x, job.out))
    return (
        lambda: native_kernel.copy(target, source, streaming=False),
        lambda: native_kernel.copy(target, source, streaming=True),
    )


def _check(op: str, job: Job, got: object) -> None:
    """Compare three channels with the reference: channels do not depend on each other."""
    c = job.x.shape[1]
    some = sorted({0, c // 2, c - 1})
    x, gamma, beta = job.x[:, some], job.gamma[some], job.beta[some]
    if isinstance(got, Gradients):
        expected = reference.backward(job.dy[:, some], x, gamma).dx
        assert got.dx is not None and expected is not None  # noqa: S101 PT018 - both were asked for
        _compare(op, got.dx[:, some], expected)
        return
    assert isinstance(got, Forward)  # noqa: S101 - there is nothing else
    exact = reference.forward(x, gamma, beta).y
    if "residual" in op:
        exact = exact + job.residual[:, some].astype(np.float64)
    if "relu" in op:
        exact = np.maximum(exact, 0)
    _compare(op, got.y[:, some], exact)


def _compare(op: str, got: AnyArray, exact: AnyArray) -> None:
    difference = float(np.abs(got.astype(np.float64) - exact).max() / np.abs(exact).max())
    unit = 2.0**-8 if got.dtype.name == "bfloat16" else float(np.finfo(got.dtype).eps)
    if not difference <= CHECK_UNITS * unit:
        raise BenchmarkError.wrong_result(op, got.shape, difference, CHECK_UNITS * unit)
