"""States that Caffe and MXNet recorded, converted: the output is the one they recorded with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backnorm as bn
from backnorm.testing.budget import RECORDED_OUTPUT, parts
from dialects.layers import DIALECTS, REQUIRED_OPTIONS
from dialects.test_goldens import cases, golden_of, name_of

CAFFE = [
    case
    for case in cases("caffe")
    if case["then_test_phase_step"] is not None
    and not case["offset"]
    and case["use_global_stats"] is not False  # whose phase TEST normalizes by the batch
]
MXNET = [
    case
    for case in cases("mxnet")
    if (case["mode"] != "train" or case["params"].get("use_global_stats")) and case["axis"] == 1
]


def assert_same_output(done: bn.convert.Conversion, target: str, x: Any, recorded: Any) -> None:
    """Compare the target layer's output in eval, with the channels where the target has them."""
    layer = bn.BatchNorm(x.shape[1], dialect=target, **done.options).load_state(done.state)
    axis = layer._settings.channel_axis
    y = layer.eval().forward(np.moveaxis(x, 1, axis))
    assert parts(np.moveaxis(y, axis, 1), recorded) <= RECORDED_OUTPUT


@pytest.mark.parametrize("target", DIALECTS)
@pytest.mark.parametrize("case", CAFFE, ids=name_of)
def test_caffes_state_gives_its_output_elsewhere(case: dict[str, Any], target: str) -> None:
    """The blobs after training, and what Caffe made of them in the phase TEST."""
    golden, last = golden_of("caffe", case), case["then_test_phase_step"]
    state = {
        "mean": golden[f"step{last}_blob0"],
        "variance": golden[f"step{last}_blob1"],
        "scale_factor": golden[f"step{last}_blob2"],
    }
    options: dict[str, Any] = {"scale": case["scale_layer"]}
    options |= {"eps": case["eps"]} if case["eps"] is not None else {}
    if case["scale_layer"]:
        state |= {"gamma": golden["gamma"], "beta": golden["beta"]}
    done = bn.convert_state(
        state,
        "caffe",
        target,
        allow_loss=True,
        source_options=options,
        target_options=REQUIRED_OPTIONS[target],
    )
    if "eps floor" in {loss.name for loss in done.losses}:
        assert not state["variance"].any()  # and the target's least eps is larger: y moves
        return
    assert_same_output(done, target, golden[f"step{last}_x"], golden[f"step{last}_y"])


@pytest.mark.parametrize("target", DIALECTS)
@pytest.mark.parametrize("case", MXNET, ids=name_of)
def test_mxnets_state_gives_its_output_elsewhere(case: dict[str, Any], target: str) -> None:
    """Frozen statistics, by mode or by use_global_stats, and with gamma fixed or not."""
    golden = golden_of("mxnet", case)
    state = {
        "gamma": golden["gamma"],
        "beta": golden["beta"],
        "moving_mean": golden["running_mean"],
        "moving_var": golden["running_var"],
    }
    done = bn.convert_state(
        state,
        "mxnet",
        target,
        n=int(np.prod(case["shape"])),
        source_options=case["params"],
        target_options=REQUIRED_OPTIONS[target],
    )
    assert_same_output(done, target, golden["step0_x"], golden["step0_y"])
