"""Running statistics of data that several processes hold."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from backnorm.torch import update_bn  # noqa: E402
from with_torch.recalibration import ranks as one_process  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this PyTorch cannot run in several processes"
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what each of three ranks found, the first of which has no data."""
    folder: Path = tmp_path_factory.mktemp("ranks")
    files = [folder / f"{rank}.pt" for rank in range(3)]
    children = [
        subprocess.Popen(
            [sys.executable, one_process.__file__, str(rank), "3", folder / "meeting", file],
            stderr=subprocess.PIPE,
        )
        for rank, file in enumerate(files)
    ]
    said = [child.communicate(timeout=900)[1].decode() for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], said
    return [torch.load(file, weights_only=False) for file in files]


@pytest.mark.parametrize("variance", ["total", "within"])
def test_ranks_have_the_bits_of_one_process(found: list[dict[str, Any]], variance: Any) -> None:
    """With other batches, one rank of which has none; within them, with the same batches."""
    torch.set_num_threads(one_process.THREADS)
    model = one_process.network()
    shares = [one_process.share(rank, 3, 5) for rank in range(3)]
    update_bn([batch for share in shares for batch in share], model, variance=variance)
    for rank in found:
        for name, value in model.state_dict().items():
            if variance == "within" or "batches" not in name:
                assert torch.equal(rank[variance][name], value), name


def test_an_exception_on_one_rank_is_one_on_all(found: list[dict[str, Any]]) -> None:
    """None waits, and all have their statistics of before."""
    others = "The process group has no result: rank 2 failed."
    assert all(rank["error"].startswith(others) for rank in found[:2])
    assert found[2]["error"] == "RuntimeError"
    for rank in found:
        for name, value in one_process.network().state_dict().items():
            assert torch.equal(rank["after"][name], value), name
