"""Steps of training have one hash, and sums one value, on any number of ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from with_torch.distributed import four, steps, threads, truth  # noqa: E402
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
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What each of four ranks returns."""
    return together(four.run, 4, tmp_path_factory.mktemp("four"))


@pytest.mark.parametrize("setting", steps.SETTINGS, ids=str)
def test_training_has_one_hash(ranks: list[Any], setting: steps.Setting) -> None:
    """For 1 to 4 processes, which have other cuts, orders and formats in each step."""
    at = steps.SETTINGS.index(setting)
    hashes = {steps.alone(setting)}
    for size in (1, 2, 3, 4):
        hashes |= set(steps.merged([found[at][size - 1] for found, _ in ranks[:size]]))
    assert len(hashes) == 1


def test_threads_have_it_too(tmp_path: Path) -> None:
    """For 8 threads of a process."""
    (found,) = together(threads.run, 1, tmp_path)
    for setting, of_ranks in zip(threads.SETTINGS, found, strict=True):
        assert set(steps.merged(of_ranks)) == {steps.alone(setting)}, setting


@pytest.mark.sampled(2)
@pytest.mark.parametrize("channel", range(len(truth.CHANNELS)), ids=truth.CHANNELS)
def test_sums_are_those_of_fractions(ranks: list[Any], channel: int) -> None:
    """Mean, variance and both sums of the backward pass are correctly rounded."""
    mean, low, var, centred, plain = truth.fractions(channel)
    inv_std = 1.0 / np.sqrt(var + truth.EPS)
    want = [mean, low, var, inv_std, centred * inv_std, plain]
    found = [sums[:, channel].tolist() for _, of_rank in ranks for sums in of_rank]
    assert len(found) == 2 + 4 * 2  # two passes on one rank, and on four
    assert found == [want] * len(found)
