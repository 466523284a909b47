"""SyncBatchNorm in what PyTorch offers for training: DDP, torch.compile, checkpoints, groups."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from with_torch.distributed import training  # noqa: E402
from with_torch.distributed.ranks import together  # noqa: E402
from with_torch.engine.tensors import needs_engine  # noqa: E402

pytestmark = [
    needs_engine,
    pytest.mark.skipif(
        not torch.distributed.is_available(), reason="this PyTorch cannot train in two processes"
    ),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks returns."""
    return together(training.trains, 2, tmp_path_factory.mktemp("training"))


def test_two_processes_train_as_one(trained: list[dict[str, Any]]) -> None:
    """In DistributedDataParallel: both ranks have the same weights, those of the whole batch."""
    model = training.network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(training.STEPS):
        optimizer.zero_grad()
        (training.loss(model(training.images(step))) / 2).backward()  # it averages over ranks
        optimizer.step()
    first, second = (rank["state"] for rank in trained)
    for name, value in model.state_dict().items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", ["compiled", "checkpoint"])
def test_bits_are_those_of_a_plain_call(trained: list[dict[str, Any]], way: str) -> None:
    """A compiled graph, and a forward pass that is computed twice, change no bit."""
    for rank in trained:
        compared = 4 if way == "checkpoint" else 6  # it moves running statistics twice
        assert rank[way][:compared] == rank["plain"][:compared]


def test_a_group_of_one_rank(trained: list[dict[str, Any]]) -> None:
    """A layer with a group of its own is synchronized within it only."""
    for rank in trained:
        assert rank["own group"] == rank["alone"]
        assert rank["own group"] != rank["plain"]


def test_opcheck(trained: list[dict[str, Any]]) -> None:
    """PyTorch's own checks of a registered operator pass."""
    for rank in trained:
        assert set(rank["checked"].values()) == {"SUCCESS"}
        assert len(rank["checked"]) >= 4
