"""Faults of other synchronized layers, by their own code or their formulas, and the truth."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.nn.modules import _functions  # noqa: E402

from backnorm.torch import BatchNorm1d  # noqa: E402

PRECISION = 1e-6


def shards(mean: float) -> tuple[Any, Any]:
    """Two shards of unequal size with a standard deviation of 1, in float32."""
    rng = torch.Generator().manual_seed(0)
    return tuple(torch.randn(n, 1, generator=rng) + mean for n in (24, 8))  # type: ignore[return-value] # two


def truth(x: Any) -> float:
    """Biased variance of all values, by fractions."""
    values = [Fraction(float(value)) for value in x.flatten()]
    mean = sum(values) / len(values)
    return float(sum((value - mean) ** 2 for value in values) / len(values))


def ours(x: Any) -> float:
    """Biased variance of a layer that sees all values."""
    layer = BatchNorm1d(1, momentum=1.0)
    layer(x)
    return float(layer.running_var.double()) * (len(x) - 1) / len(x)


def by_squares(parts: tuple[Any, Any]) -> float:
    """The law of detectron2's NaiveSyncBatchNorm (commit 047d4775): the average of ranks."""
    mean, square = torch.stack([torch.stack([x.mean(), (x * x).mean()]) for x in parts]).mean(0)
    return float(square - mean * mean)


def by_variances(parts: tuple[Any, Any]) -> float:
    """The law of Horovod's SyncBatchNormalization (commit 0b142e65): the average of ranks."""
    found = [torch.stack([x.mean(), x.var(correction=0) + x.mean().square()]) for x in parts]
    mean, square = torch.stack(found).mean(0)
    return float(square - mean.square())


@pytest.mark.parametrize("law", [by_squares, by_variances])
def test_a_variance_by_squares_is_lost_at_a_large_mean(law: Any) -> None:
    """At mean/std 1e4 it is a multiple of 8 in float32, where 1 is right."""
    near, far = shards(0.0), shards(1e4)
    assert abs(law(near) - truth(torch.cat(near))) < 0.2
    assert abs(law(far) - truth(torch.cat(far))) > 0.5
    assert law(far) % 8 == 0
    for parts in (near, far):
        x = torch.cat(parts)
        assert abs(ours(x) - truth(x)) < PRECISION


@pytest.mark.parametrize("law", [by_squares, by_variances])
def test_ranks_that_count_the_same_are_wrong_for_uneven_shards(law: Any) -> None:
    """24 values around 0 and 8 around 4: a variance near 5 where 4 is right."""
    low, high = shards(0.0)
    parts = low, high + 4.0
    assert abs(law(parts) - truth(torch.cat(parts))) > 0.5
    assert abs(ours(torch.cat(parts)) - truth(torch.cat(parts))) < PRECISION


class _SentError(Exception):
    """What a rank sends."""


def message_of(x: Any, monkeypatch: Any) -> Any:
    """What torch.nn.SyncBatchNorm sends to other ranks for this input, by its own code."""

    def statistics(x: Any, eps: float) -> Any:
        # As PyTorch's kernel for a GPU, which has no counterpart on the CPU.
        wide = x.float()
        return wide.mean(0), (wide.var(0, correction=0) + eps).rsqrt()

    def send(_: Any, combined: Any, *__: Any, **___: Any) -> None:
        raise _SentError(combined)

    monkeypatch.setattr(torch, "batch_norm_stats", statistics)
    monkeypatch.setattr(_functions.dist, "all_gather", send)
    group = SimpleNamespace(_get_backend_name=lambda: "gloo")
    with pytest.raises(_SentError) as sent:
        _functions.SyncBatchNorm.forward(None, x, None, None, None, None, 1e-5, 0.1, group, 2)
    return sent.value.args[0]


def test_an_empty_rank_of_pytorch_sends_another_dtype(monkeypatch: Any) -> None:
    """In float16 it sends 14 bytes where others send 28: the collective aborts.

    Ours: tests/with_torch/distributed/test_same_bits.py has empty ranks in every dtype.
    """
    full = message_of(torch.randn(4, 3).half(), monkeypatch)
    empty = message_of(torch.randn(0, 3).half(), monkeypatch)
    assert (full.dtype, full.nbytes) == (torch.float32, 28)
    assert (empty.dtype, empty.nbytes) == (torch.float16, 14)
    assert message_of(torch.randn(0, 3), monkeypatch).dtype == torch.float32
