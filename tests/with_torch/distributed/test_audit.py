"""backnorm audit --ranks: layers that synchronize, and each way in which they do so wrongly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from backnorm.cli import main  # noqa: E402
from with_torch.engine.tensors import needs_engine  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this PyTorch cannot run in two processes"
)

FAULTY = Path(__file__).parent / "faulty.py"

OTHERS = "not a layer or function of PyTorch, Flax, Haiku, Equinox or JAX"


def audited(target: str, folder: Path, options: Sequence[str] = ()) -> tuple[int, dict[str, Any]]:
    """Audit a target on two ranks; return the exit status and its entry in the JSON."""
    file = folder / "audit.json"
    arguments = ["audit", "--quick", "--ranks", "2", target, "--json", str(file), *options]
    status = CliRunner().invoke(main, arguments).exit_code
    (record,) = json.loads(file.read_text())["targets"]
    return status, record


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("layer", "codes", "sound"),
    [
        ("Right", [], True),
        ("RaisesWhereEmpty", [], True),
        ("EqualWeights", ["W01", "W01", "W06"], True),
        ("MaskNotInVariance", ["W02"], True),
        ("MaskSwitchesOff", ["W03"], True),
        ("RunningOfOneRank", ["W04"], True),
        ("HangsWhereEmpty", ["W05"], True),
        ("WithinRanks", ["W06", "W06", "W06"], None),
        ("GradientOfOneRank", ["W07"], False),
    ],
)
def test_each_fault_is_found(
    layer: str,
    codes: list[str],
    sound: bool | None,  # noqa: FBT001 - of the table
    tmp_path: Path,
) -> None:
    """A layer that is right in one process gets the finding of what it does in two."""
    status, record = audited(f"{FAULTY}:{layer}", tmp_path)
    assert [found["code"] for found in record["findings"]] == codes
    assert record["sound"] is sound
    assert status == (2 if sound is None else int(bool(codes)))
    results = {probe["code"]: probe["result"] for probe in record["probes"]}
    assert set(results) == {"P01", "P70", "P71", "P72", "P73", "P74"}


@needs_engine
def test_the_layer_of_the_package_is_sound(tmp_path: Path) -> None:
    """SyncBatchNorm has statistics, gradients and running statistics of all ranks."""
    status, record = audited("backnorm.torch.SyncBatchNorm", tmp_path)
    assert (status, record["sound"], record["findings"]) == (0, True, [])


def test_a_layer_that_does_not_synchronize_is_not_judged(tmp_path: Path) -> None:
    """It is right on each rank, which is not what was asked; a checkpoint is rank 0's."""
    status, record = audited("torch.nn.BatchNorm2d", tmp_path)
    assert (status, record["sound"]) == (2, None)
    assert (
        record["not_judged"] == "it does not synchronize: each rank normalizes with its own values"
    )
    assert [found["code"] for found in record["findings"]] == ["W04"]


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("torch.nn.LayerNorm", "of kind layer"),
        (
            "backnorm.audit.specimens.plain:Plain",
            "not a layer or function of PyTorch, Flax, Haiku, Equinox or JAX",
        ),
    ],
)
def test_what_cannot_run_on_ranks_is_said_to_be_so(target: str, why: str, tmp_path: Path) -> None:
    """It was not audited, whatever one process would say of it."""
    status, record = audited(target, tmp_path)
    assert (status, record["audited"], record["sound"]) == (2, False, None)
    assert [found["got"] for found in record["findings"]] == [why]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--ranks needs a target"),
        (["torch"], "--ranks needs one layer of PyTorch or JAX, not torch"),
        (["x:Y", "--mode", "eval"], "--ranks cannot be used with --mode"),
        (["x:Y", "--model"], "--ranks cannot be used with --model"),
        (["x:Y", "--control"], "--ranks cannot be used with --control"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments: list[str], message: str) -> None:
    """Before anything is started."""
    result = CliRunner().invoke(main, ["audit", "--ranks", "2", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
