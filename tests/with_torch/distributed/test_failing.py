"""No rank waits for ever: where a pass fails on one rank, every rank has an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from with_torch.distributed import failing  # noqa: E402
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

ELSEWHERE = "RankError: 1 other rank of the group could not compute this pass."
WANTED = {
    "other_channels": ("RankError: num_features must be the same on every rank, got 3 here",) * 1
    + ("RankError: num_features must be the same on every rank, got 4 here",),
    "wrong_input": (ELSEWHERE, "ShapeError: x must have 3 channels, got 4."),
    "wrong_axes": (ELSEWHERE, "ShapeError: input must have 2 to 8 axes, got shape (60,)."),
    "integers": (ELSEWHERE, "DtypeError: input must have one of the dtypes torch.float16"),
    "wrong_mask": (ELSEWHERE, "ShapeError: mask must have shape (4, 5), that of x"),
    "weights": (ELSEWHERE, "DtypeError: mask must have dtype bool, got torch.float32."),
    "wrong_weight": (ELSEWHERE, "ShapeError: weight must have shape (3,), got (2,)."),
    "other_residual": (ELSEWHERE, "ShapeError: residual must have the shape of input"),
    "lost_input": (ELSEWHERE, "StorageError: "),
    "lost_before_backward": (ELSEWHERE, "StorageError: "),
    "one_value": ("RangeError: input must have two values a channel or more",) * 2,
    "no_value": ("RangeError: input must have two values a channel or more",) * 2,
    "lost_before_second": (ELSEWHERE, "StorageError: "),
    "third_derivative": ("NotSupportedError: SyncBatchNorm has no third derivative",) * 2,
    "cut_gradient": ("RangeError: through must be 'both' where the gradient is differentiated",)
    * 2,
    "other_device": ("NotSupportedError: SyncBatchNorm of backnorm.torch cannot",) * 2,
}
"""The error of each rank, in the order of ranks."""


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What each rank returns."""
    return together(failing.refuses, 2, tmp_path_factory.mktemp("refused"))


@pytest.mark.parametrize("name", WANTED)
def test_every_rank_has_an_error(refused: list[Any], name: str) -> None:
    """The rank at fault has its own, the other one an error that says so."""
    at = [case.__name__ for case in failing.CASES].index(name)
    for (said, *_), want in zip(refused, WANTED[name], strict=True):
        assert said[at].startswith(want), said[at]


def test_all_cases_are_there() -> None:
    """No case is left out."""
    assert [case.__name__ for case in failing.CASES] == list(WANTED)


def test_collectives(refused: list[Any]) -> None:
    """The group works on: one collective a pass, more in the first one, none in evaluation."""
    first = [16, 32 + 3 * 48, 3 * 240, 32 + 3 * 64, 3 * 328]
    for _, sizes, trained in refused:
        assert sizes == [*first, 32 + 3 * 48, 32 + 3 * 64]
        assert trained == len(sizes)


def test_sums_that_do_not_fit(tmp_path: Path) -> None:
    """All ranks send them again, whichever rank they are of; the result is right every time."""
    once, again = [32 + 3 * 48], [32 + 3 * 48, 3 * 240]
    want = [again, once, again, again, once, again, once, again, again, once]
    for rank in together(failing.repeats, 2, tmp_path):
        assert [sizes for sizes, _ in rank] == want
        assert all(right for _, right in rank)


def test_a_rank_in_evaluation(tmp_path: Path) -> None:
    """It has the right result, and the other one an error within the group's timeout."""
    said = together(failing.leaves_alone, 2, tmp_path, timeout=20.0)
    assert said[1] == "right"
    assert said[0] != "right"
