"""SyncBatchNorm in FSDP2, Join, torch.export and torch.func, on two ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from with_torch.distributed import ecosystem  # noqa: E402
from with_torch.distributed.ranks import together  # noqa: E402
from with_torch.engine.tensors import needs_engine  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    needs_engine,
    pytest.mark.skipif(
        not torch.distributed.is_available(), reason="this PyTorch cannot train in two processes"
    ),
]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks returns."""
    return together(ecosystem.run, 2, tmp_path_factory.mktemp("ecosystem"), timeout=60.0)


@pytest.mark.parametrize("part", ["fsdp", "exported", "transformed"])
def test_it_is_as_a_plain_call(ranks: list[dict[str, Any]], part: str) -> None:
    """The same bits by FSDP2, by an exported program, and by torch.func."""
    for found in ranks:
        got, want = found[part]
        assert got == want


def test_join(ranks: list[dict[str, Any]]) -> None:
    """A rank that has fewer batches passes empty ones, and ends with the weights of the other."""
    first, second = (found["joined"] for found in ranks)
    assert first == second


@pytest.mark.thorough
def test_inductor(tmp_path: Path) -> None:
    """One graph, whose results are those of a plain call up to the rounding of the other layers."""
    for got, want in together(ecosystem.compiled, 2, tmp_path):
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(torch.tensor(a), torch.tensor(b))
