"""Where results are stored: out, into, and write, add or null for each gradient."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import backnorm as bn
from backnorm.testing.budget import EPS, assert_bits, assert_within_budget
from backnorm.testing.cases import DTYPES, KERNELS, LAYOUTS, MODES, Batch, dtype_of, make

if TYPE_CHECKING:
    from backnorm._types import AnyArray

by_kernel = pytest.mark.parametrize("kernel", KERNELS)
by_layout = pytest.mark.parametrize("layout", LAYOUTS)
by_dtype = pytest.mark.parametrize("dtype", DTYPES)

SHAPE = (4, 3, 5, 6)
GRADIENTS = ("dx", "dgamma", "dbeta", "dresidual")
REQUESTS = ("write", "add", "null")
ORDERS = ("contiguous", "channels last")


def forward(dtype: str = "float32", kernel: str = "auto", order: str = "contiguous") -> Any:
    """dy, and a forward pass with gamma, beta, residual and activation."""
    return run(make(SHAPE, dtype).laid_out(order), kernel)


@cache
def nearly_exact(dtype: str) -> tuple[AnyArray, bn.Gradients]:
    """y and the gradients for the same values, all in float64."""
    batch = Batch(*(array.astype("f8") for array in vars(make(SHAPE, dtype)).values()))
    dy, fwd = run(batch, "numpy")
    return fwd.y, bn.batch_norm_backward(dy, fwd, kernel="numpy")


def run(batch: Batch, kernel: str) -> Any:
    """dy, and a forward pass with gamma, beta, residual and activation."""
    fwd = bn.batch_norm(
        batch.x,
        batch.gamma,
        batch.beta,
        activation="relu",
        residual=batch.residual,
        kernel=kernel,
    )
    return batch.dy, fwd


def filled(like: AnyArray, value: float = 0.5) -> AnyArray:
    """A buffer that holds something."""
    return np.full_like(like, value)


def surroundings(view: AnyArray) -> AnyArray:
    """The memory that a view lies in, as bytes, without the view itself."""
    memory = view
    while isinstance(memory.base, np.ndarray):
        memory = memory.base
    taken = np.zeros((memory.size, memory.itemsize), bool).reshape(-1)
    start = view.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
    for byte in range(view.itemsize):
        places = np.lib.stride_tricks.as_strided(taken[start + byte :], view.shape, view.strides)
        places[...] = True
    return memory.reshape(-1).view(np.uint8)[~taken]


@by_kernel
@by_layout
@by_dtype
@pytest.mark.parametrize("order", ORDERS)
def test_out_is_filled_in_any_layout(kernel: str, layout: str, dtype: str, order: str) -> None:
    """y is out itself, has the values it would have had, and nothing beside it is touched."""
    batch = make(SHAPE, dtype).laid_out(order)
    out = LAYOUTS[layout](filled(batch.x))
    around = surroundings(out)
    fwd = bn.batch_norm(
        batch.x,
        batch.gamma,
        batch.beta,
        activation="relu",
        residual=batch.residual,
        out=out,
        kernel=kernel,
    )
    assert fwd.y is out
    assert_within_budget(out, nearly_exact(dtype)[0], channel_axis=1)
    assert (surroundings(out) == around).all()


@by_kernel
@by_layout
@by_dtype
@pytest.mark.parametrize("order", ORDERS)
def test_into_is_filled_in_any_layout(kernel: str, layout: str, dtype: str, order: str) -> None:
    """dx and dresidual are the buffers, written to or added to, and nothing beside them."""
    dy, fwd = forward(dtype, kernel, order)
    _, want = nearly_exact(dtype)
    for request, before in (("write", 0.0), ("add", 0.5)):
        dx, dresidual = (LAYOUTS[layout](filled(dy)) for _ in range(2))
        around = surroundings(dx), surroundings(dresidual)
        into = bn.Gradients(dx=dx, dresidual=dresidual)
        options: Any = {"dx": request, "dresidual": request}
        g = bn.batch_norm_backward(dy, fwd, into=into, kernel=kernel, **options)
        assert g.dx is dx
        assert g.dresidual is dresidual
        assert_within_budget(dx, want.dx + before, channel_axis=1)
        assert_within_budget(dresidual, want.dresidual + before, channel_axis=1)
        assert (surroundings(dx) == around[0]).all()
        assert (surroundings(dresidual) == around[1]).all()


@by_kernel
@pytest.mark.parametrize("mode", MODES)
def test_each_gradient_has_its_own_request(kernel: str, mode: str) -> None:
    """All 81 combinations: written, added or left out, each without regard to the others."""
    batch = make(SHAPE, "float64")
    fwd = bn.batch_norm(
        batch.x,
        batch.gamma,
        batch.beta,
        residual=batch.residual,
        kernel=kernel,
        **batch.frozen(mode),
    )
    want = bn.batch_norm_backward(batch.dy, fwd, kernel=kernel)
    for requests in product(REQUESTS, repeat=4):
        chosen: Any = dict(zip(GRADIENTS, requests, strict=True))
        added = [name for name in GRADIENTS if chosen[name] == "add"]
        into = bn.Gradients(**{name: filled(getattr(want, name)) for name in added})
        g = bn.batch_norm_backward(batch.dy, fwd, into=into, kernel=kernel, **chosen)
        for name, request in chosen.items():
            assert_as_requested(request, getattr(g, name), getattr(want, name), getattr(into, name))


def assert_as_requested(
    request: str, got: AnyArray | None, want: AnyArray, buffer: AnyArray | None
) -> None:
    """Assert that a gradient was written, added to what the buffer held, or left out."""
    if request == "null":
        assert got is None
    elif request == "write":
        assert_bits(got, want)
    else:
        assert got is buffer
        assert_within_budget(got, want + 0.5, channel_axis=min(1, got.ndim - 1))


@by_kernel
@by_dtype
def test_parameter_gradients_go_into_strided_buffers(kernel: str, dtype: str) -> None:
    """dgamma and dbeta into every other value of an array, backwards; the rest stays."""
    dy, fwd = forward(dtype, kernel)
    want = bn.batch_norm_backward(dy, fwd, kernel=kernel)
    memory = np.full(12, 7, dy.dtype)
    into = bn.Gradients(dgamma=memory[4::-2], dbeta=memory[6:11:2])
    g = bn.batch_norm_backward(dy, fwd, into=into, kernel=kernel)
    assert_bits(g.dgamma, want.dgamma)
    assert_bits(g.dbeta, want.dbeta)
    assert memory[[1, 3, 5, 7, 9, 11]].tolist() == [7] * 6


@by_kernel
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_parameter_gradients_are_added_in_float64(kernel: str, dtype: str) -> None:
    """The sum of buffer and gradient is rounded once: a little more than a tie goes up."""
    eps = EPS[dtype]
    dy = np.array([[1.0], [eps / 4]]).astype(dtype_of(dtype))
    fwd = bn.batch_norm(np.zeros_like(dy), beta=np.zeros(1, dy.dtype), kernel=kernel)
    into = bn.Gradients(dbeta=np.full(1, 2 / eps, dy.dtype))
    g = bn.batch_norm_backward(dy, fwd, dbeta="add", into=into, kernel=kernel)
    assert g.dbeta.astype("f8").tolist() == [2 / eps + 2]


@by_kernel
def test_adding_twice_is_adding_up(kernel: str) -> None:
    """Gradient accumulation over two halves of a batch of losses."""
    dy, fwd = forward("float64", kernel)
    into = bn.Gradients(*(np.zeros_like(a) for a in (dy, fwd.mean, fwd.mean, dy)))
    requests: Any = dict.fromkeys(GRADIENTS, "add")
    for _ in range(2):
        bn.batch_norm_backward(dy, fwd, into=into, kernel=kernel, **requests)
    once = bn.batch_norm_backward(dy, fwd, kernel=kernel)
    for name in GRADIENTS:
        assert_bits(getattr(into, name), 2 * getattr(once, name))


@by_kernel
def test_null_leaves_the_others_as_they_are(kernel: str) -> None:
    """dgamma alone, as for a layer whose input needs no gradient."""
    dy, fwd = forward("float32", kernel)
    want = bn.batch_norm_backward(dy, fwd, kernel=kernel)
    g = bn.batch_norm_backward(dy, fwd, dx="null", dbeta="null", dresidual="null", kernel=kernel)
    assert (g.dx, g.dbeta, g.dresidual) == (None, None, None)
    assert_bits(g.dgamma, want.dgamma)


def test_out_may_be_the_other_half_of_the_same_memory() -> None:
    """x[:, :3] and x[:, 3:] lie between each other, but share no value."""
    memory = np.zeros((4, 6, 5), "f4")
    memory[:, :3] = make((4, 3, 5)).x
    want = bn.batch_norm(memory[:, :3].copy()).y
    assert_bits(bn.batch_norm(memory[:, :3], out=memory[:, 3:]).y, want)


def test_a_residual_without_a_gradient_request_has_none() -> None:
    """Without a residual dresidual is None, whatever is asked for."""
    batch = make(SHAPE)
    g = bn.batch_norm_backward(batch.dy, bn.batch_norm(batch.x))
    assert (g.dgamma, g.dbeta, g.dresidual) == (None, None, None)
