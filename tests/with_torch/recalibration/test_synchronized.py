"""Layers that synchronize see more samples than one rank has: no statistics are taken of them."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import distributed, nn  # noqa: E402

from backnorm.errors import NotSupportedError  # noqa: E402
from backnorm.torch import SyncBatchNorm, accumulate, update_bn  # noqa: E402

pytestmark = pytest.mark.skipif(
    not distributed.is_available(), reason="this PyTorch has no torch.distributed"
)

LOADER = [torch.ones(2, 3, 1, 1), torch.zeros(2, 3, 1, 1)]


def in_a_group(monkeypatch: pytest.MonkeyPatch, ranks: int) -> None:
    """Let torch.distributed say that there are so many ranks."""
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda _: ranks)


@pytest.mark.parametrize("layer", [SyncBatchNorm, nn.SyncBatchNorm])
def test_they_are_refused_by_name(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has changed then."""
    in_a_group(monkeypatch, 2)
    model = nn.Sequential(nn.BatchNorm2d(3), layer(3))
    with (
        pytest.raises(NotSupportedError, match=r"accumulate does not know .*: 1 synchronizes"),
        accumulate(model),
    ):
        pass
    with pytest.raises(NotSupportedError, match=r"update_bn with variance=.within. .*: 1 sync"):
        update_bn(LOADER, model, variance="within")
    assert model[0].num_batches_tracked == 0
    assert model[1].track_running_stats


def test_a_layer_that_is_alone_in_its_group_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """It synchronizes with nobody."""
    in_a_group(monkeypatch, 1)
    model = nn.Sequential(nn.BatchNorm2d(3), SyncBatchNorm(3))
    with accumulate(model):
        model(LOADER[0])
    assert [layer.num_batches_tracked.item() for layer in model] == [1, 1]


def test_evaluation_asks_no_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the total is that of the data, on one rank as on many."""
    in_a_group(monkeypatch, 2)
    model = SyncBatchNorm(3)
    update_bn(LOADER, model)
    assert model.running_mean.tolist() == [0.5, 0.5, 0.5]
