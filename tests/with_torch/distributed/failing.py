"""Passes that cannot be computed, on two ranks; and one that can, after them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from backnorm.torch import SyncBatchNorm, batch_norm
from backnorm.torch.distributed.windows import remember, remember_agreement, windows_of
from with_torch.distributed.counting import counting_group

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CASES", "leaves_alone", "refuses", "repeats"]


def batch(rank: int, channels: int = 3, **options: Any) -> torch.Tensor:
    """Return some samples."""
    rng = torch.Generator().manual_seed(rank)
    return torch.randn(4, channels, 5, generator=rng).to(**options)


def freed(tensor: torch.Tensor) -> torch.Tensor:
    """Free the memory of a tensor."""
    tensor.untyped_storage().resize_(0)
    return tensor


def other_channels(rank: int) -> None:
    """The layers have different numbers of channels."""
    SyncBatchNorm(3 + rank)(batch(rank, 3 + rank))


def wrong_input(rank: int) -> None:
    """One rank has an input for another layer."""
    SyncBatchNorm(3)(batch(rank, 3 + rank))


def wrong_axes(rank: int) -> None:
    """One rank has an input without channels."""
    SyncBatchNorm(3)(batch(rank).flatten() if rank else batch(rank))


def integers(rank: int) -> None:
    """One rank has integers."""
    SyncBatchNorm(3)(batch(rank, dtype=(torch.float32, torch.int64)[rank]))


def wrong_mask(rank: int) -> None:
    """One rank has a mask of another shape."""
    SyncBatchNorm(3)(batch(rank), mask=torch.ones(4, 5 - rank, dtype=torch.bool))


def weights(rank: int) -> None:
    """One rank has weights in place of a mask."""
    SyncBatchNorm(3)(batch(rank), mask=torch.ones(4, 5, dtype=(torch.bool, torch.float32)[rank]))


def wrong_weight(rank: int) -> None:
    """One rank has a weight for another number of channels."""
    group, weight = distributed.group.WORLD, torch.ones(3 - rank)
    batch_norm(
        batch(rank), torch.zeros(3), torch.ones(3), weight, training=True, process_group=group
    )


def other_residual(rank: int) -> None:
    """One rank has a residual of another shape."""
    x = batch(rank)
    SyncBatchNorm(3, activation="relu")(x, x[: 4 - rank])


def lost_input(rank: int) -> None:
    """The memory of one rank's input was freed."""
    SyncBatchNorm(3)(freed(batch(rank)) if rank else batch(rank))


def lost_before_backward(rank: int) -> None:
    """The memory of one rank's input was freed after the forward pass."""
    x = batch(rank).requires_grad_()
    y = SyncBatchNorm(3)(x)
    if rank:
        freed(x.detach())
    y.sum().backward()


def one_value(rank: int) -> None:
    """There is one value a channel, on one of the ranks."""
    SyncBatchNorm(3)(batch(rank)[: 1 - rank, :, :1])


def no_value(rank: int) -> None:
    """All batches are empty."""
    SyncBatchNorm(3)(batch(rank)[:0])


def lost_before_second(rank: int) -> None:
    """The memory of one rank's input was freed before a gradient is differentiated again."""
    x = batch(rank).requires_grad_()
    y = SyncBatchNorm(3)(x)
    (dx,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    if rank:
        freed(x.detach())
    dx.square().sum().backward()


def third_derivative(rank: int) -> None:
    """The gradient of a gradient is differentiated again."""
    x = batch(rank).requires_grad_()
    value = SyncBatchNorm(3)(x).square().sum()
    for _ in range(2):
        (dx,) = torch.autograd.grad(value, x, create_graph=True)
        value = dx.square().sum()
    value.backward()


def cut_gradient(rank: int) -> None:
    """A gradient through the mean alone is differentiated again."""
    x = batch(rank).requires_grad_()
    layer = SyncBatchNorm(3)
    layer.through = "mean"
    (dx,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    dx.square().sum().backward()


def other_device(_rank: int) -> None:
    """The input is not on the CPU."""
    SyncBatchNorm(3)(torch.empty(4, 3, device="meta"))


CASES: tuple[Callable[[int], None], ...] = (
    other_channels,
    wrong_input,
    wrong_axes,
    integers,
    wrong_mask,
    weights,
    wrong_weight,
    other_residual,
    lost_input,
    lost_before_backward,
    one_value,
    no_value,
    lost_before_second,
    third_derivative,
    cut_gradient,
    other_device,
)


def refuses(rank: int) -> tuple[list[str], list[int], int]:
    """Return the error of each case, and then the bytes of the collectives of passes."""
    said = []
    for case in CASES:
        try:
            case(rank)
        except Exception as error:  # noqa: BLE001 - what a test compares
            said.append(f"{type(error).__name__}: {error}")
        else:
            said.append("")
    group = counting_group()
    layer = SyncBatchNorm(3, process_group=group)
    for _ in range(2):
        layer(batch(rank).requires_grad_()).sum().backward()
    trained = len(group.sizes)
    layer.eval()(batch(rank).requires_grad_()).sum().backward()
    return said, group.sizes, trained


def another(_: SyncBatchNorm) -> SyncBatchNorm:
    """Return a layer that has not been called."""
    return SyncBatchNorm(3)


def other_window(layer: SyncBatchNorm) -> SyncBatchNorm:
    """Have a rank remember other windows than the other one."""
    window = windows_of(layer._layer, "forward")
    assert window is not None
    remember(layer._layer, "forward", window._replace(low=window.low + 1))
    return layer


def repeats(rank: int) -> list[tuple[list[int], bool]]:
    """Return, for passes after the first, the bytes of their collectives, and if y is right."""
    group = counting_group()
    layer = SyncBatchNorm(3, process_group=group)
    said = []
    for scales, change in (
        ((1.0, 1.0), None),
        ((1.0, 1.0), None),
        ((1.0, 1e30), None),  # one rank has values for which no window is
        ((1.0, 1.0), None),  # now the windows are those of 1e30
        ((1.0, 1.0), None),
        ((1.0, float("inf")), None),  # after it windows are those of 1
        ((1.0, 1.0), None),
        ((1.0, 1.0), another),  # a rank without windows
        ((1.0, 1.0), other_window),
        ((1.0, 1.0), None),
    ):
        group.sizes.clear()
        if change is not None and rank:
            layer = change(layer)
            layer.process_group = group
        remember_agreement(layer._layer, group.group_name)
        x = [batch(k) * scales[k] for k in range(2)]
        y = layer(x[rank])
        whole = batch_norm(torch.cat(x), None, None, training=True, sums="exact")
        right = torch.equal(y.nan_to_num(), whole.chunk(2)[rank].nan_to_num())
        said.append((list(group.sizes), right))
    return said


def leaves_alone(rank: int) -> str:
    """Call a layer that evaluates on one rank; return what happens."""
    layer = SyncBatchNorm(3)
    if rank:
        layer.eval()
    try:
        y = layer(batch(rank))
    except RuntimeError as error:
        return type(error).__name__
    return "right" if torch.allclose(y, batch(rank), atol=1e-4) else "wrong"
