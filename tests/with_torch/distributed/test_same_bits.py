"""SyncBatchNorm on 2 to 4 ranks has the bits of one process with all samples."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from with_torch.distributed import same_bits  # noqa: E402
from with_torch.distributed.ranks import together  # noqa: E402
from with_torch.distributed.same_bits import CASES, Case  # noqa: E402
from with_torch.engine.tensors import needs_engine  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    needs_engine,
    pytest.mark.skipif(
        not torch.distributed.is_available(), reason="this PyTorch cannot train in two processes"
    ),
]

SHARED = ("dweight", "dbias", "running_mean", "running_var")
"""What is the same on every rank."""
CUT = ("y", "dx", "dresidual")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[Any]]:
    """For each number of ranks the results of each: the processes start once."""
    found = {}
    for ranks in (2, 3, 4):
        folder: Path = tmp_path_factory.mktemp(f"ranks{ranks}")
        found[ranks] = together(same_bits.run, ranks, folder)
    return found


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are bitwise identical."""
    a, b = a.contiguous(), b.contiguous()
    return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The same of two ranks, of which one computes by NumPy."""
    return together(same_bits.run_mixed, 2, tmp_path_factory.mktemp("mixed"))


@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_bits_are_those_of_one_process(parts: dict[int, list[Any]], case: Case) -> None:
    """For any cut, layout, dtype and activation, with empty ranks and ranks of one sample."""
    assert_same(case, [rank[CASES.index(case)] for rank in parts[len(case.cuts)]])


@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", [case for case in CASES if len(case.cuts) == 2], ids=str)
def test_kernels_may_be_different(mixed: list[Any], case: Case) -> None:
    """A rank without the C++ part has the same bits."""
    assert_same(case, [rank[CASES.index(case)] for rank in mixed])


def assert_same(case: Case, got: list[Any]) -> None:
    """The results of ranks are those of one process."""
    want = same_bits.alone(case)
    for name in SHARED:
        for rank in got:
            assert same(rank[name], want[name]), name
    converts = not isinstance(case.dtype, torch.dtype)
    for name in CUT:
        if name == "dresidual" and not case.residual:
            continue
        # A rank with another dtype rounds to that one.
        pieces = [rank[name].to(want[name].dtype) if converts else rank[name] for rank in got]
        assert same(torch.cat(pieces).float(), want[name].float()), name


@pytest.mark.parametrize("case", [CASES[0], CASES[7], Case((2, 7), offset=1e7)], ids=str)
def test_statistics_are_those_of_fractions(parts: dict[int, list[Any]], case: Case) -> None:
    """The running statistics are correctly rounded."""
    x = same_bits.batch(case)["x"]
    got = parts[len(case.cuts)][0][CASES.index(case)]
    for c in range(same_bits.CHANNELS):
        values = [Fraction(float(v)) for v in x[:, c].flatten()]
        n = len(values)
        mean = sum(values) / n
        var = float(sum(v * v for v in values) / n - mean * mean)
        kept = 0.1 * float(mean)
        assert got["running_mean"][c] == torch.tensor(kept, dtype=torch.float64).float()
        moved = 0.9 * 1.0 + 0.1 * (var * (n / (n - 1)))
        assert got["running_var"][c] == torch.tensor(moved, dtype=torch.float64).float()
