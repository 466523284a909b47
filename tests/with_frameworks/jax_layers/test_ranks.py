"""backnorm audit --ranks: layers of JAX, whose parts are stacked in the axis that they name."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

pytest.importorskip("jax", reason="JAX is not installed; make test-frameworks has it")

from backnorm.audit import audit
from backnorm.audit.ranks.conduct import over_ranks
from backnorm.audit.ranks.probes import RankExamination
from backnorm.audit.ranks.world import RankCall, Stacked
from backnorm.audit.specimens.plain import Plain
from backnorm.audit.subjects.from_specs import subjects_from
from backnorm.cli import main
from backnorm.host.find import find
from backnorm.host.specs import of_object

if TYPE_CHECKING:
    from backnorm.audit.record import Record
    from backnorm.audit.subject import Subject

FAULTY = Path(__file__).parent / "faulty.py"

OURS = "backnorm.jax.layers."
HOMES = {**dict.fromkeys(("flax", "linen", "nnx"), "flax"), "haiku": "haiku", "equinox": "equinox"}

SPREAD = {"axis_name": "ranks"}
OF_NNX = {"num_features": 4, "axis_name": "ranks"}
OF_HAIKU = {"create_scale": True, "create_offset": True, "decay_rate": 0.9}
OF_EQUINOX = {"input_size": 4, "mode": "batch"}
EQUAL = ["W01", "W01", "W06"]
"""Shards have equal weights, for unequal parts and masks; an empty shard is NaN."""


def subject_of(target: str, arguments: Any) -> Subject:
    """Find a target, without a look at its gradient."""
    pytest.importorskip(HOMES.get(target.removeprefix(OURS).partition(".")[0], "jax"))
    specs = of_object(find(target, ()), {"arguments": arguments, "modes": "train"})
    (subject,) = subjects_from(specs)
    return subject


def examined(subject: Subject, ranks: int = 2) -> Record:
    """Examine a subject on ranks, as if one process had found it sound."""
    group = Stacked(subject, lambda: None)
    examination = RankExamination(subject, ranks, group, group, seed=0)
    *_, record = over_ranks(examination, audit(Plain, quick=True), lambda _: None)
    return record


def results(record: Record) -> str:
    """Return the results of P70 to P74."""
    return " ".join(probe.result for probe in record.probes if probe.code >= "P70")


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("target", "arguments", "codes"),
    [
        ("flax.linen.BatchNorm", SPREAD, EQUAL),
        ("backnorm.jax.layers.linen.BatchNorm", SPREAD, []),
        ("backnorm.jax.layers.nnx.BatchNorm", OF_NNX, []),
        ("flax.nnx.BatchNorm", OF_NNX, EQUAL),
    ],
)
def test_masks_stand_for_unequal_parts(target: str, arguments: Any, codes: list[str]) -> None:
    """Flax averages the means of the shards; ours adds up what counts."""
    record = examined(subject_of(target, arguments))
    assert [found.code for found in record.findings] == codes
    assert record.sound
    assert results(record) == ("fail pass pass fail fail" if codes else " ".join(["pass"] * 5))


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("haiku.BatchNorm", {**OF_HAIKU, "cross_replica_axis": "ranks"}),
        ("backnorm.jax.layers.equinox.BatchNorm", {**OF_EQUINOX, "axis_name": ["ranks", "batch"]}),
        ("equinox.nn.BatchNorm", {**OF_EQUINOX, "axis_name": ["ranks", "batch"]}),
        ("backnorm.jax.layers.haiku.BatchNorm", {**OF_HAIKU, "cross_replica_axis": "ranks"}),
    ],
)
def test_a_layer_without_masks_is_judged_by_equal_parts(target: str, arguments: Any) -> None:
    """What cannot be asked of it is said."""
    record = examined(subject_of(target, arguments))
    assert record.sound
    assert not record.findings
    assert results(record) == "pass pass pass skipped skipped"
    said = {probe.code: probe.what for probe in record.probes}
    why = "not judged, since parts of JAX have one shape and it takes no mask"
    assert said["P70"] == f"y is that of one process, for equal parts; unequal parts {why}"
    assert said["P74"] == why


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("equinox.nn.BatchNorm", {**OF_EQUINOX, "axis_name": "batch"}),
        ("haiku.BatchNorm", OF_HAIKU),
        ("flax.linen.BatchNorm", {}),
    ],
)
def test_a_layer_without_an_axis_is_not_judged(target: str, arguments: Any) -> None:
    """It does not synchronize; its running statistics are those of one part."""
    record = examined(subject_of(target, arguments))
    assert record.sound is None
    assert record.not_judged == (
        "it does not synchronize: each rank normalizes with its own values"
    )
    assert [found.code for found in record.findings] == ["W04"]


@pytest.mark.thorough
def test_a_function_names_its_axis_by_an_attribute() -> None:
    """In three parts."""
    record = examined(subject_of(f"{FAULTY}:right", None), 3)
    assert record.sound
    assert not record.findings


def test_an_error_is_an_answer() -> None:
    """Of every rank: they are one call."""
    subject = subject_of(f"{FAULTY}:right", None)
    group = Stacked(subject, lambda: None)
    (part,) = RankExamination(subject, 2, group, group, seed=0).parts([6])
    answers = group.call([part, RankCall(part.x[:4], part.dy[:4], part.gamma, part.beta)])
    assert [answer.failed for answer in answers] == [True, True]
    assert answers[0].raised.startswith("ValueError: all input arrays must have the same shape")


def test_the_command_runs_parts_in_the_process_of_the_target(tmp_path: Path) -> None:
    """A gradient that leaves out other parts is wrong; the exit status says so."""
    file, target = tmp_path / "audit.json", f"{FAULTY}:gradient_of_one_part"
    arguments = ["audit", "--quick", "--ranks", "2", target, "--json", str(file)]
    assert CliRunner().invoke(main, arguments).exit_code == 1
    (record,) = json.loads(file.read_text())["targets"]
    assert [found["code"] for found in record["findings"]] == ["W07"]
    assert record["sound"] is False
    assert math.isfinite(record["residual"])
