"""The benchmark: what it times, what it makes of it, what it prints and writes."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from backnorm import kernels
from backnorm.bench import BenchOptions, accuracy, engine, idle, run, timing
from backnorm.bench.suites import SUITES, cases
from backnorm.bench.summary import CACHED_BYTES, LARGE_BYTES, BenchRow, by_suite, summary
from backnorm.bench.table import _bar, errors_line
from backnorm.bench.timing import LEAST_SAMPLE, WARM_UP, alternate, quartiles, sampled
from backnorm.cli import main
from backnorm.errors import BenchmarkError
from backnorm.results import Gradients

if TYPE_CHECKING:
    from pathlib import Path

needs_native = pytest.mark.skipif(
    kernels.get().name != "native", reason="the C++ part was not built: nothing to compare with"
)

LAYERS = {"resnet50": 53, "mobilenetv2": 52}
"""How many batch normalizations each network has."""


def row(**changes: object) -> BenchRow:
    """A row of made-up seconds, 4 MB large."""
    known = {
        "suite": "made up",
        "op": "forward",
        "layout": "nchw",
        "dtype": "float32",
        "shape": (1000, 1000),
        "weight": 1,
        "threads": 2,
        "backnorm": 2.0,
        "backnorm_given": 2.0,
        "copy": 1.0,
        "peers": {"a": 8.0, "b": 4.0},
        "to_copy": 2.0,
        "to_fastest_peer": 2.0,
    }
    return BenchRow(**(known | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("network", LAYERS)
def test_suites_hold_every_layer_of_the_network(network: str) -> None:
    """The weights add up to the network's number of batch normalizations."""
    assert sum(case.weight for case in SUITES[network]) == LAYERS[network]
    assert len({case.shape for case in SUITES[network]}) == len(SUITES[network])


def test_all_is_every_suite() -> None:
    """The suite "all" leaves no case out."""
    assert len(cases("all")) == sum(len(members) for members in SUITES.values())


def test_row_compares_with_the_faster_copy_and_the_fastest_peer() -> None:
    """Ratios are taken to the best of what there is."""
    seconds = {
        "backnorm": 4.0,
        "backnorm (out given)": 3.0,
        "copy (plain)": 2.0,
        "copy (streaming)": 8.0,
    }
    made = BenchRow.of(
        SUITES["dense"][0], "forward", "nchw", "float32", 2, seconds, {"a": 8, "b": 6}
    )
    assert (made.to_copy, made.to_fastest_peer, made.bound) == (2.0, 1.5, None)
    seconds |= {"bound (plain)": 1.0, "bound (streaming)": 0.5}
    bounded = BenchRow.of(SUITES["dense"][0], "forward", "nchw", "float32", 2, seconds, {})
    assert (bounded.bound, bounded.to_bound) == (0.5, 8.0)


def test_a_framework_counts_by_its_faster_way() -> None:
    """PyTorch has two, oneDNN one."""
    peers = {"torch": 8.0, "torch (out given)": 6.0, "onednn": 1.0}
    assert row(peers=peers).to_frameworks == {"torch": 3.0, "onednn": 0.5}
    group = summary([row(peers=peers), row(weight=3)])["nchw"]["forward"]["all"]
    assert group["to_torch"] == pytest.approx(3.0, rel=1e-12)
    assert group["to_a"] == pytest.approx(4.0, rel=1e-12)
    assert group["slowest_to_onednn"] == 0.5


def test_sizes_are_apart() -> None:
    """Second and third level, both, and memory."""
    cached = [row(cache="L2", to_copy=4.0), row(cache="L3", to_copy=1.0)]
    far = row(cache="memory", to_copy=8.0, shape=(CACHED_BYTES, 1))
    groups = summary([*cached, far])["nchw"]["forward"]
    found = {name: round(values["to_copy"] or 0, 9) for name, values in groups.items()}
    assert found == {"all": 3.174802104, "L2": 4, "L3": 1, "to 8 MiB": 2, "memory": 8}


def test_each_suite_has_its_summary() -> None:
    """The weights of two networks do not add up."""
    found = by_suite([row(suite="a", to_copy=2.0), row(suite="b", to_copy=8.0)])
    assert found["a"]["nchw"]["forward"]["all"]["to_copy"] == pytest.approx(2.0)
    assert found["b"]["nchw"]["forward"]["all"]["to_copy"] == pytest.approx(8.0)


def test_largest_errors_are_a_line() -> None:
    """Of each result of the engine and of a peer that was given the same arrays."""
    rows = [
        row(errors={"backnorm": {"y": 0.5}, "onednn": {"y": 2.0}}),
        row(errors={"backnorm": {"y": 0.75, "dx": 1.0}}),
    ]
    assert errors_line(rows) == (
        "Largest errors, in units of rounding: backnorm y 0.75, dx 1; onednn y 2."
    )
    assert errors_line([row()]) == ""


def test_quartiles_of_samples() -> None:
    """Of one sample, itself."""
    assert quartiles([3.0]) == (3.0, 3.0)
    assert quartiles([5.0, 1.0, 2.0, 3.0, 4.0]) == (2.0, 4.0)
    assert sampled({"a": lambda: 1.0}, 3) == {"a": [1.0, 1.0, 1.0]}


def test_summary_weighs_ratios_geometrically() -> None:
    """A ratio of 8 once and of 1 twice gives 2."""
    rows = [row(to_copy=8.0), row(to_copy=1.0, weight=2, to_fastest_peer=0.5)]
    group = summary(rows)["nchw"]["forward"]["all"]
    assert group["to_copy"] == pytest.approx(2.0, rel=1e-12)
    assert group["slowest_to_fastest_peer"] == 0.5


def test_summary_has_a_group_for_large_shapes() -> None:
    """Shapes of 50 MB and more stand alone as well."""
    large = row(shape=(LARGE_BYTES // 4, 1), to_copy=1.0)
    assert summary([row()])["nchw"]["forward"].keys() == {"all"}
    groups = summary([row(to_copy=4.0), large])["nchw"]["forward"]
    assert groups["large"]["to_copy"] == 1.0


def test_bar_is_as_long_as_the_slowest() -> None:
    """The copy is drawn to a quarter of the peer, the engine to half of it."""
    assert _bar(row(), 4.0) == ":" * 5 + "#" * 5 + "-" * 10


def test_alternate_calls_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round takes one sample of each call, after untimed calls of the same."""
    monkeypatch.setattr(timing, "LEAST_WARM_UP", 0.0)
    seen: list[str] = []
    seconds = {"a": 1.0, "b": LEAST_SAMPLE / 2}  # a call that returns a float has timed itself
    calls = {name: lambda name=name: seen.append(name) or seconds[name] for name in seconds}
    assert alternate(calls, 3) == seconds
    first, second = "a" * (WARM_UP + 1), "b" * (WARM_UP + 2)  # the short one twice a sample
    assert "".join(seen).endswith((first + second) * 3)


def test_threads_of_other_libraries_fall_asleep_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rest comes before our calls, and before each that is named; none where nothing is."""
    monkeypatch.setattr(timing, "LEAST_WARM_UP", 0.0)
    seen: list[str] = []
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: seen.append(str(seconds)))
    calls = {name: lambda name=name: seen.append(name) or 1.0 for name in "abc"}
    assert sampled(calls, 2, apart={"c"}) == {name: [1.0, 1.0] for name in "abc"}
    times = WARM_UP + 1
    around = ["0.02", *"a" * times, *"b" * times, "0.02", *"c" * times]
    assert seen[-2 * len(around) :] == around * 2
    seen.clear()
    sampled(calls, 2)
    assert "0.02" not in seen


def test_an_error_where_nothing_is_right_but_zero() -> None:
    """It is 0 for a zero, and infinite for anything else."""
    exact = np.zeros(2)
    for result, error in ((0.0, 0.0), (1e-9, math.inf)):
        assert accuracy._error(np.array([0.0, result]), exact, [0, 1]) == error


def test_a_rest_comes_before_every_single_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """After one call of each to begin with; the result is the median."""
    seen: list[str] = []
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: seen.append(str(seconds)))
    samples = iter([9.0, 1.0, 3.0, 2.0])
    calls = {"a": lambda: seen.append("a") or next(samples)}
    assert timing.after_rest(calls, 1) == {"a": 2.0}
    assert seen == ["a", *["0.02", "a"] * 3]


def test_idle_calls_are_timed_with_one_thread_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then with all threads, hot too; our number of threads is what it was, also after an error."""
    counts: list[int] = []
    monkeypatch.setattr(idle.native_kernel, "set_thread_count", counts.append)
    monkeypatch.setattr(
        idle, "after_rest", lambda calls, _: dict.fromkeys(calls, 10.0 * counts[-1])
    )
    monkeypatch.setattr(idle, "alternate", lambda calls, _: dict.fromkeys(calls, 5.0))
    times = idle.latencies(lambda count: {"a": lambda: count}, 4, 1)
    assert times == {"a": {idle.ONE_THREAD: 10.0, idle.RESTED: 40.0, idle.HOT: 5.0}}
    assert counts == [1, 4, 4]
    with pytest.raises(KeyError):
        idle.latencies(lambda count: {}[count], 3, 1)
    assert counts[-1] == 3


@needs_native
def test_command_times_calls_after_a_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row has the time after the rest, and the times beside it; a table of its own has all."""
    monkeypatch.setattr(timing, "REST", 0.0)
    file = tmp_path / "bench.json"
    arguments = ["--suite", "dense", "--layout", "nhwc", "--rounds", "1", "--peers", ""]
    result = CliRunner().invoke(main, ["bench", "--op", "idle", *arguments, "--json", str(file)])
    assert result.exit_code == 0, result.output
    first = json.loads(file.read_text())["rows"][0]
    assert first["latencies"]["backnorm"].keys() == {idle.HOT, idle.RESTED, idle.ONE_THREAD}
    assert first["backnorm"] == first["latencies"]["backnorm"][idle.RESTED]
    assert "to one thread" in result.output


@needs_native
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("op", engine.OPERATIONS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_every_operation_is_checked_and_runs(op: str, layout: str, dtype: str) -> None:
    """The engine and both copies run for each format, and the copies copy."""
    job = engine.data((4, 8, 5, 5), layout, dtype)
    calls = engine.calls(op, job)
    for call in calls.values():
        call()
    assert np.array_equal(job.out, job.x)  # the copies came last


@needs_native
def test_wrong_result_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient that is off stops the benchmark."""
    job = engine.data((4, 3), "nchw", "float32")
    wrong = Gradients(dx=np.zeros_like(job.x))
    monkeypatch.setattr(engine.ops, "batch_norm_backward", lambda *_, **__: wrong)
    with pytest.raises(BenchmarkError, match=r"^backward of .* must differ from the reference by"):
        engine.calls("backward", job)


@needs_native
def test_run_gives_a_row_for_each_case_layout_and_operation() -> None:
    """A real run without peers."""
    rows = list(run(BenchOptions("dense", rounds=1)))
    assert [(r.shape, r.layout, r.op) for r in rows[:4]] == [
        ((64, 256), layout, op) for layout in ("nchw", "nhwc") for op in ("forward", "backward")
    ]
    assert all(r.backnorm > 0 and r.copy > 0 and r.to_fastest_peer is None for r in rows)


@needs_native
def test_command_writes_json(tmp_path: Path) -> None:
    """The file holds schema, environment, rows and summary."""
    file = tmp_path / "bench.json"
    arguments = ["bench", "--suite", "dense", "--layout", "nchw", "--rounds", "1", "--peers", ""]
    result = CliRunner().invoke(main, [*arguments, "--json", str(file)])
    assert result.exit_code == 0, result.output
    written = json.loads(file.read_text())
    assert written["schema"] == 2
    assert {"op", "layout", "dtype", "shape", "weight", "to_copy"} <= written["rows"][0].keys()
    assert {"cache", "bound", "quartiles", "errors"} <= written["rows"][0].keys()
    assert written["machine"]["level"]
    assert written["summary"]["dense"]["nchw"]["backward"]["all"]["to_copy"] > 0
    assert "4096x1024" in result.output


@needs_native
def test_peer_of_another_environment_that_fails_is_named() -> None:
    """An interpreter without the framework gives its last words."""
    options = BenchOptions("dense", ("nchw",), interpreters=(("mxnet", sys.executable),), rounds=1)
    with pytest.raises(BenchmarkError, match=r"(?s)^mxnet cannot be timed under .*mxnet"):
        next(run(options))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--suite", "vgg"], "Invalid value for '--suite'"),
        (["--peers", "theano"], "names must be among torch, jax"),
        (["--peer-python", "mxnet"], "must be NAME=INTERPRETER"),
        (["--rounds", "0"], "Invalid value for '--rounds'"),
    ],
)
def test_wrong_use_says_what_is_right(arguments: list[str], words: str) -> None:
    """Wrong words end with status 2 before anything is timed."""
    result = CliRunner().invoke(main, ["bench", *arguments])
    assert result.exit_code == 2
    assert words in result.output
