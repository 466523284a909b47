"""Two processes that train a converted network together, each on its share of the images."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from with_torch.engine import distributed as one_process  # noqa: E402
from with_torch.engine.tensors import needs_engine  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    needs_engine,
    pytest.mark.skipif(
        not torch.distributed.is_available(), reason="this PyTorch cannot train in two processes"
    ),
]


def test_two_processes_train_as_one_that_averages_their_gradients(tmp_path: Path) -> None:
    """Both end with the same weights: those of stock layers, each share with its own statistics."""
    files = [tmp_path / "0.pt", tmp_path / "1.pt"]
    children = [
        subprocess.Popen(
            [sys.executable, one_process.__file__, str(rank), tmp_path / "meeting", file],
            stderr=subprocess.PIPE,
        )
        for rank, file in enumerate(files)
    ]
    said = [child.communicate(timeout=900)[1].decode() for child in children]
    assert [child.returncode for child in children] == [0, 0], said
    first, second = map(torch.load, files)
    stock = one_process.network()
    optimizer = torch.optim.SGD(stock.parameters(), lr=0.1)
    for step in range(one_process.STEPS):
        optimizer.zero_grad()
        for rank in (0, 1):  # gradients of both shares add up
            (stock(one_process.images(step, rank)).square().mean() / 2).backward()
        optimizer.step()
    for name, value in stock.named_parameters():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value.detach(), rtol=1e-10, atol=1e-12)
    before = dict(one_process.network().named_parameters())
    assert all(not torch.equal(first[name], before[name]) for name in first if name != "0.bias")
