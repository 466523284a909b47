"""Lazy copies: what is only read is not copied, what is written to is."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from backnorm.testing.cases import MODES  # noqa: E402
from backnorm.torch import batch_norm  # noqa: E402
from backnorm.torch.engine.memory import plain  # noqa: E402
from with_torch.engine.tensors import (  # noqa: E402
    MEMORY,
    Tensors,
    assert_like,
    drawn,
    leaves,
    needs_engine,
)

if TYPE_CHECKING:
    from backnorm._types import Shape

pytestmark = needs_engine

SHAPE = (4, 3, 5, 6)


def owned(shape: Shape) -> Tensors:
    """Return tensors in memory of PyTorch's own: of others there are no lazy copies."""
    given = drawn(shape)
    return Tensors(*(getattr(given, field.name).clone() for field in fields(given)))


def lazy(value: torch.Tensor) -> torch.Tensor:
    """Return a copy that shares memory until somebody writes."""
    copy = torch._lazy_clone(value)
    assert is_lazy(copy)
    return copy


def is_lazy(value: torch.Tensor) -> bool:
    """Whether nobody has written to it, or could have."""
    answer: bool = torch._C._is_cow_tensor(value)
    return answer


def gradients(
    given: Tensors, x: torch.Tensor, dy: torch.Tensor, residual: Any = None, **keywords: Any
) -> list[torch.Tensor]:
    """Return y and the gradients."""
    weight, bias = leaves(given.weight, given.bias)
    x.requires_grad_()
    keywords = {"training": True, "residual": residual, **keywords}
    running = (keywords.pop("running_mean", None), keywords.pop("running_var", None))
    y = batch_norm(x, *running, weight, bias, **keywords)
    y.backward(dy)
    assert x.grad is not None
    return [y.detach(), x.grad, weight.grad, bias.grad]


@pytest.mark.parametrize("name", MEMORY)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_what_is_read_stays_lazy(name: str, mode: str, activation: str) -> None:
    """x, residual and dy, forward and backward; and the results are those of true copies."""
    shape, memory = MEMORY[name]
    given = owned(shape)
    arrays = [a.contiguous(memory_format=memory) for a in (given.x, given.dy, given.residual)]
    x, dy, residual = map(lazy, arrays)
    keywords: dict[str, Any] = {"activation": activation, **given.frozen(mode)}
    got = gradients(given, x, dy, residual, **keywords)
    assert [is_lazy(value) for value in (x, dy, residual)] == [True] * 3
    want = gradients(given, *(a.clone() for a in arrays), **keywords)
    for one, other in zip(got, want, strict=True):
        assert_like(one, other)
        assert one.stride() == other.stride()


def test_a_part_of_a_lazy_copy() -> None:
    """A view that starts somewhere inside is read where it lies."""
    given = owned(SHAPE)
    around = torch.full((4, 7, 5, 6), 7.0, dtype=torch.float64)
    around[:, 2:5] = given.x
    whole = lazy(around)
    y = batch_norm(whole[:, 2:5], None, None, given.weight, given.bias, training=True)
    assert is_lazy(whole)
    assert_like(y, given.run())


def test_what_became_lazy_since() -> None:
    """A lazy copy of x taken between forward and backward makes x lazy too, and it stays so."""
    given = owned(SHAPE)
    (x,) = leaves(given.x)
    y = batch_norm(x, None, None, given.weight, given.bias, training=True)
    copy = lazy(x.detach())
    y.backward(given.dy)
    assert is_lazy(copy)
    assert is_lazy(x)
    assert_like(x.grad, gradients(given, given.x.clone(), given.dy)[1])


def test_in_place_it_is_copied() -> None:
    """y is written to memory of its own, and whom it was copied from keeps its values."""
    given = owned(SHAPE)
    before = given.x.clone()
    x = lazy(given.x)
    y = batch_norm(x, None, None, given.weight, given.bias, training=True, inplace=True)
    assert not is_lazy(x)
    assert y.data_ptr() == x.data_ptr()
    assert torch.equal(given.x, before)
    assert_like(x, batch_norm(before, None, None, given.weight, given.bias, training=True))


def test_running_statistics_are_written_to_their_own_memory() -> None:
    """Those that they were copied from keep their values."""
    given = owned(SHAPE)
    before = given.running_mean.clone()
    mean, var = lazy(given.running_mean), lazy(given.running_var)
    batch_norm(lazy(given.x), mean, var, training=True)
    assert torch.equal(given.running_mean, before)
    assert not torch.equal(mean, before)


def test_others_go_straight_to_the_kernels() -> None:
    """A tensor that is no lazy copy is plain."""
    x = owned(SHAPE).x
    assert plain(x)
    assert not plain(lazy(x))
