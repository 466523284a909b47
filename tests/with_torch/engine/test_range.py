"""Huge values and narrow formats, where the stock kernels give 0 or NaN."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from backnorm.torch import batch_norm  # noqa: E402
from with_torch.engine.tensors import assert_like, drawn, leaves, needs_engine  # noqa: E402

pytestmark = needs_engine

FORMATS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize("memory_format", FORMATS, ids=str)
def test_huge_values_give_finite_results(memory_format: torch.memory_format) -> None:
    """x of 1e30, whose square float32 does not hold, normalizes to what x itself does."""
    x = drawn((8, 3, 5, 6), "float32").x.to(memory_format=memory_format)
    got = batch_norm(x * 1e30, None, None, training=True, eps=1e-30)
    want = batch_norm(x.double(), None, None, training=True, eps=1e-30)
    assert_like(got, want.float())


def test_gradients_of_half_precision_are_numbers() -> None:
    """float16 in channels_last, backward."""
    given = drawn((8, 3, 5, 6), "float16", "channels last")
    x, weight, bias = leaves(given.x, given.weight, given.bias)
    batch_norm(x, None, None, weight, bias, training=True).backward(given.dy)
    assert all(t.grad.isfinite().all() for t in (x, weight, bias))
    assert x.grad.is_contiguous(memory_format=torch.channels_last)


def test_one_thread_and_two_give_the_same_bits() -> None:
    """Forward and backward of a tensor that is shared out."""
    given = drawn((8, 16, 40, 40), "float32")
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            (x,) = leaves(given.x)
            y = batch_norm(x, None, None, given.weight, given.bias, training=True)
            y.backward(given.dy)
            found.append((y.detach(), x.grad))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))
