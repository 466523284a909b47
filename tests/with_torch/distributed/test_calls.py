"""What a synchronized layer is asked for on two ranks: derivatives, masks, float64, a function."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from with_torch.distributed import hiding, numerical, two  # noqa: E402
from with_torch.distributed.ranks import together  # noqa: E402
from with_torch.engine.tensors import needs_engine  # noqa: E402

pytestmark = [
    needs_engine,
    pytest.mark.skipif(
        not torch.distributed.is_available(), reason="this PyTorch cannot train in two processes"
    ),
]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks returns."""
    return together(two.run, 2, tmp_path_factory.mktemp("two"))


@pytest.mark.parametrize("case", numerical.CASES, ids=str)
def test_derivatives(ranks: list[dict[str, Any]], case: numerical.Case) -> None:
    """gradcheck and gradgradcheck of PyTorch agree, over both ranks."""
    for found in ranks:
        assert found["derivatives"][numerical.CASES.index(case)] is True


@pytest.mark.parametrize("way", [0, 1], ids=["module", "function"])
@pytest.mark.parametrize("case", hiding.CASES, ids=str)
def test_masks(ranks: list[dict[str, Any]], case: hiding.Case, way: int) -> None:
    """The bits are those of one process with the whole batch and the whole mask."""
    want = hiding.alone(case)
    of_ranks = [found["masks"][hiding.CASES.index(case)][way] for found in ranks]
    for name in ("y", "dx", "dresidual"):
        assert torch.equal(torch.cat([found[name] for found in of_ranks]), want[name]), name
    for name in ("dweight", "dbias", "running_mean", "running_var"):
        assert all(torch.equal(found[name], want[name]) for found in of_ranks), name


def test_collectives_of_the_function(ranks: list[dict[str, Any]]) -> None:
    """The first step asks whether ranks fit, and sends whole limbs; the second sends windows."""
    first = [16, 32 + 3 * 48, 3 * 240, 32 + 3 * 64, 3 * 328]
    for found in ranks:
        assert found["bytes"] == [*first, 32 + 3 * 48, 32 + 3 * 64]


def test_float64(ranks: list[dict[str, Any]]) -> None:
    """It has the same bits on two ranks as on one, and statistics that are rounded once."""
    for name in ("y", "dx"):
        both = torch.cat([found["doubles"][0][name] for found in ranks])
        assert all(torch.equal(both, found["doubles"][1][name]) for found in ranks), name
    x = ranks[0]["doubles"][0]["x"]
    for c in range(2):
        values = [Fraction(v) for v in x[:, c].flatten().tolist()]
        n = len(values)
        mean = sum(values) / n
        var = float(sum(v * v for v in values) / n - mean * mean)
        for found in ranks:
            for way in found["doubles"]:  # also where one rank has float32
                assert way["mean"][c].item() == float(mean)
                assert way["var"][c].item() == var * (n / (n - 1))
