"""What cannot be carried, one by one, and what is refused for it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import backnorm as bn
from backnorm.convert import KINDS
from backnorm.errors import (
    BacknormError,
    ConversionError,
    DtypeError,
    RangeError,
    ShapeError,
    UnknownNameError,
)
from backnorm.testing.budget import SAME_OUTPUT, parts
from dialects.layers import DIALECTS, OPTIONS, dialects_with, make

KERAS = {"gamma": [2.0], "beta": [1.0], "moving_mean": [3.0], "moving_variance": [4.0]}
MXNET = {"gamma": [2.0], "beta": [1.0], "moving_mean": [3.0], "moving_var": [4.0]}
TORCH = {"weight": [2.0], "bias": [1.0], "running_mean": [3.0], "running_var": [4.0]}
BARE = {"running_mean": [3.0], "running_var": [4.0]}
CAFFE = {"mean": [6.0], "variance": [8.0], "scale_factor": [2.0]}
FRESH = {"mean": [3.0], "variance": [4.0], "scale_factor": [1.0]}
EMPTY = {"mean": [6.0], "variance": [8.0], "scale_factor": [0.0]}
HAIKU = {
    "scale": [2.0],
    "offset": [1.0],
    **{f"{name}_ema/hidden": [0.3] for name in ("mean", "var")},
    **{f"{name}_ema/average": [3.0] for name in ("mean", "var")},
    **{f"{name}_ema/counter": 1 for name in ("mean", "var")},
}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "estimator": (KERAS, {"source": "keras", "target": "torch"}, ("estimator",)),
    "eps in variance": (
        KERAS,
        {"source": "keras", "target": "caffe-nvidia"},
        ("eps in variance",),
    ),
    "eps floor": (
        {**TORCH, "running_var": [1e-6]},
        {"source": "torch", "target": "mxnet-cudnn", "source_options": {"eps": 1e-7}},
        ("eps floor",),
    ),
    "eps that is asked for": (
        {**TORCH, "running_var": [0.0]},
        {"source": "torch", "target": "torch", "target_options": {"eps": 1e-3}},
        ("eps floor",),
    ),
    "eps and another estimate": (
        {**TORCH, "running_var": [5e-4]},
        {
            "source": "torch",
            "target": "keras",
            "target_options": {"epsilon": 5.09e-4},
            "n": 2,
            "preserve": "estimator",
        },
        ("estimator", "eps floor"),
    ),
    "a target without running statistics": (
        TORCH,
        {"source": "torch", "target": "torch", "target_options": {"track_running_stats": False}},
        ("running statistics",),
    ),
    "a target that goes by the batch in eval": (
        FRESH,
        {"source": "caffe", "target": "caffe", "target_options": {"use_global_stats": False}},
        ("batch in eval",),
    ),
    "a source that goes by the batch in eval": (
        FRESH,
        {"source": "caffe", "target": "torch", "source_options": {"use_global_stats": False}},
        ("batch in eval",),
    ),
    "divisor": (CAFFE, {"source": "caffe", "target": "torch"}, ("divisor",)),
    "unread sums": (EMPTY, {"source": "caffe", "target": "caffe"}, ("unread sums",)),
    "updates": (HAIKU, {"source": "haiku", "target": "flax"}, ("updates",)),
    "plain mean": (
        TORCH,
        {"source": "torch", "target": "mlx", "source_options": {"momentum": None}},
        ("plain mean",),
    ),
    "finetuning": (
        {"gamma": [1.0], "beta": [0.0], "avg_mean": [0.0], "avg_var": [1.0], "N": 5},
        {"source": "chainer", "target": "torch"},
        ("finetuning",),
    ),
    "unused gamma": (MXNET, {"source": "mxnet", "target": "flax"}, ("unused gamma",)),
    "sign of gamma": (
        {**TORCH, "weight": [-2.0]},
        {"source": "inplace-abn", "target": "torch"},
        ("sign of gamma",),
    ),
    "gamma": (
        KERAS,
        {"source": "keras", "target": "flax", "target_options": {"use_scale": False}},
        ("gamma",),
    ),
    "gamma held at 1": (
        KERAS,
        {"source": "keras", "target": "mxnet", "target_options": {"fix_gamma": True}},
        ("gamma",),
    ),
    "beta": (
        KERAS,
        {"source": "keras", "target": "flax", "target_options": {"use_bias": False}},
        ("beta",),
    ),
    "new gamma": (
        {key: KERAS[key] for key in KERAS if key != "gamma"},
        {"source": "keras", "target": "onnx-15", "source_options": {"scale": False}},
        ("new gamma",),
    ),
    "new beta": (
        {key: KERAS[key] for key in KERAS if key != "beta"},
        {"source": "keras", "target": "onnx-15", "source_options": {"center": False}},
        ("new beta",),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_loss_is_said(case: str) -> None:
    """By name and in a sentence; a strict conversion is refused for those that matter."""
    state, arguments, names = CASES[case]
    arguments = {"strict": True, **arguments}
    done = bn.convert_state(state, allow_loss=True, **arguments)
    assert tuple(loss.name for loss in done.losses) == names
    for loss in done.losses:
        assert loss.refused == (KINDS[loss.name].refused != "never" and loss.factor is None)
        assert "{" not in loss.what
    refused = [loss for loss in done.losses if loss.refused]
    if not refused:
        bn.convert_state(state, **arguments)
        return
    error = ConversionError.loss(
        arguments["source"], arguments["target"], refused[0].what, KINDS[refused[0].name].advice
    )
    with pytest.raises(ConversionError, match=f"^{re.escape(str(error))}$"):
        bn.convert_state(state, **arguments)


def test_every_loss_has_a_case() -> None:
    """Those in the table and no others."""
    assert {name for _, _, names in CASES.values() for name in names} >= set(KINDS)


def test_a_smaller_eps_goes_into_the_variance() -> None:
    """NVIDIA Caffe raises eps to 1e-5: the variance takes the difference."""
    state = {**KERAS, "moving_variance": [1.0]}
    done = bn.convert_state(state, "keras", "torch", n=9, target_options={"eps": 0.5})
    assert done.options["eps"] == 0.5
    assert parts(done.state["running_var"], [1.0 + 1e-3 - 0.5]) <= SAME_OUTPUT
    fine = {name: np.array(array) for name, array in state.items()}
    done = bn.convert_state(fine, "keras", "caffe-nvidia", source_options={"epsilon": 1e-6})
    assert done.options["eps"] == 1e-5
    assert parts(done.state["variance"], [1.0 + 1e-6 - 1e-5]) <= 1e-12


def test_a_variance_that_would_be_below_zero_ends_at_zero_where_that_is_allowed() -> None:
    """In the channels that eps grows by more than they have, and in no other."""
    state = {**TORCH, "weight": [1.0] * 2, "bias": [0.0] * 2, "running_mean": [0.0] * 2}
    state["running_var"] = [0.0, 4.0]
    done = bn.convert_state(state, "torch", "torch", allow_loss=True, target_options={"eps": 0.5})
    assert done.state["running_var"][0] == 0.0
    assert parts(done.state["running_var"][1:], [4.0 + 1e-5 - 0.5]) <= SAME_OUTPUT


def test_what_a_smaller_eps_moved_into_the_variance_comes_back() -> None:
    """A variance of 0 is 0 again, though its float32 stand-in is a little below what eps takes."""
    state = {name: np.zeros(1, "f4") for name in TORCH}
    for eps in (1e-5, 2e-5, 3e-5, 5e-5, 7e-5):
        there = bn.convert_state(
            state, "torch", "torch", source_options={"eps": 1e-3}, target_options={"eps": eps}
        )
        back = bn.convert_state(
            there.state,
            "torch",
            "torch",
            source_options=there.options,
            target_options={"eps": 1e-3},
        )
        assert back.losses == ()
        assert parts(back.state["running_var"] + 1e-3, [1e-3]) <= SAME_OUTPUT


@pytest.mark.parametrize("target", DIALECTS)
def test_a_variance_a_little_below_zero_keeps_its_output(target: str) -> None:
    """MXNet leaves one behind in a constant channel: var + eps is what counts."""
    state = {**MXNET, "moving_var": [-4e-7]}
    options = {"fix_gamma": False, "eps": 1e-3}
    done = bn.convert_state(state, "mxnet", target, n=9, source_options=options)
    assert {loss.name for loss in done.losses} <= {"estimator", "eps in variance"}
    x = np.array([[3.0], [3.5], [-1.0]])
    layers = [
        bn.BatchNorm(1, dialect="mxnet", **options).load_state(state),
        bn.BatchNorm(1, dialect=target, **done.options).load_state(done.state),
    ]
    want, got = (layer.eval().forward(x) for layer in layers)
    assert parts(got, want) <= SAME_OUTPUT


@pytest.mark.parametrize("dialect", dialects_with("statistics", "batch"))
def test_layers_that_both_go_by_the_batch_in_eval_lose_nothing(dialect: str) -> None:
    """And neither do those that go by the running statistics in training too."""
    choice = bn.dialects.row_of(dialect).statistics.known
    state = make(dialect).state()
    for value in choice.meaning:
        options = {**OPTIONS[dialect], str(choice.name): value}
        done = bn.convert_state(
            state, dialect, dialect, source_options=options, target_options=options
        )
        assert done.losses == ()


def test_a_zero_divisor_reads_as_zero() -> None:
    """What Caffe computes with it, where it is known or allowed that the sums do not count."""
    fresh = {name: np.zeros(1, "f4") for name in CAFFE}
    done = bn.convert_state(fresh, "caffe", "torch", target_options={"affine": False})
    assert done.losses == ()
    assert (done.state["running_mean"].item(), done.state["running_var"].item()) == (0.0, 0.0)
    done = bn.convert_state(EMPTY, "caffe", "torch", allow_loss=True)
    assert done.state["running_var"].item() == 0.0


def test_fixed_gamma_is_written_as_ones() -> None:
    """Also where the target cannot hold it: the stored 2 was never used."""
    done = bn.convert_state(MXNET, "mxnet", "onnx-15")
    assert done.state["scale"].tolist() == [1.0]
    done = bn.convert_state(MXNET, "mxnet", "onnx-15", source_options={"fix_gamma": False})
    assert done.state["scale"].tolist() == [2.0]
    done = bn.convert_state(MXNET, "mxnet", "mxnet-cudnn", n=9)
    assert done.options["fix_gamma"] is True


def test_a_layer_without_parameters_stays_one_where_it_can() -> None:
    """affine=False, scale=False and so on follow from what there is."""
    bare = {"affine": False}
    of = {
        target: bn.convert_state(BARE, "torch", target, n=9, source_options=bare)
        for target in ("torch", "keras", "caffe", "haiku", "chainer")
    }
    assert list(of["torch"].state) == ["running_mean", "running_var", "num_batches_tracked"]
    assert list(of["keras"].state) == ["moving_mean", "moving_variance"]
    assert list(of["caffe"].state) == ["mean", "variance", "scale_factor"]
    assert of["haiku"].options["create_scale"] is False
    assert of["chainer"].options["use_beta"] is False
    assert all("gamma" not in loss.name for done in of.values() for loss in done.losses)


def test_an_average_without_a_count_is_freed_of_its_start_completely() -> None:
    """The count written for Haiku and Equinox makes 1 - keep^count exactly 1."""
    done = bn.convert_state(KERAS, "keras", "equinox-batch")
    assert 1 - 0.99 ** int(done.state["counter"]) == 1.0
    assert done.state["hidden_mean"].tolist() == [3.0]
    done = bn.convert_state({**TORCH, "num_batches_tracked": 3}, "torch", "haiku", n=9)
    assert done.state["mean_ema/counter"].item() == 3
    assert parts(done.state["mean_ema/hidden"], [3.0 * (1 - 0.9**3)]) <= SAME_OUTPUT
    assert done.state["mean_ema/average"].tolist() == [3.0]


def test_a_new_layer_stays_a_new_layer() -> None:
    """Nothing was counted and nothing moved: the target starts at its own beginning, if it can."""
    fresh = bn.BatchNorm(1, dialect="torch").state()
    done = bn.convert_state(fresh, "torch", "equinox-batch", n=9)
    assert done.state["counter"].item() == 0
    assert done.state["hidden_var"].tolist() == [1.0]
    done = bn.convert_state(fresh, "torch", "haiku", n=9)  # which starts at a variance of 0
    assert done.state["var_ema/counter"].item() > 0
    assert done.state["var_ema/hidden"].tolist() == [1.0]
    done = bn.convert_state(fresh, "torch", "equinox-ema", n=9)
    assert done.state["first_time"].item() is True


def test_an_estimate_that_is_the_targets_own_is_not_restated() -> None:
    """n is then of no use, and does no harm."""
    done = bn.convert_state(TORCH, "torch", "mlx", n=9, preserve="estimator")
    assert done.state["running_var"].tolist() == [4.0]


SMALL_DIVISOR = {"mean": 2.0, "variance": 1.0, "scale_factor": 2.0**-140}

REFUSED: dict[str, tuple[Any, dict[str, Any], BacknormError]] = {
    "no such dialect": (
        KERAS,
        {"source": "keras", "target": "troch"},
        UnknownNameError.choice("dialect", "troch", bn.dialects.DIALECTS),
    ),
    "no state": (
        None,
        {"source": "keras", "target": "flax"},
        DtypeError.not_a_mapping("state", None),
    ),
    "a state without names": (
        [1, 2],
        {"source": "keras", "target": "flax"},
        DtypeError.not_a_mapping("state", [1, 2]),
    ),
    "a ragged list": (
        {**KERAS, "gamma": [[1.0], [2.0, 3.0]]},
        {"source": "keras", "target": "flax"},
        DtypeError.not_numbers("state['gamma']", []),
    ),
    "a name that is a number": (
        {**KERAS, 1: [1.0]},
        {"source": "keras", "target": "flax"},
        UnknownNameError.stored("1", "keras", tuple(KERAS)),
    ),
    "no name of a dialect": (
        KERAS,
        {"source": "keras", "target": ["flax"]},
        UnknownNameError.choice("dialect", ["flax"], bn.dialects.DIALECTS),
    ),
    "options without names": (
        KERAS,
        {"source": "keras", "target": "flax", "target_options": ["epsilon"]},
        DtypeError.not_a_mapping("target_options", []),
    ),
    "no options without a name": (
        KERAS,
        {"source": "keras", "target": "flax", "source_options": []},
        DtypeError.not_a_mapping("source_options", []),
    ),
    "an eps that no float holds": (
        KERAS,
        {"source": "keras", "target": "flax", "target_options": {"epsilon": 10**400}},
        RangeError.option("epsilon", "be a finite number, 0 or greater", 10**400, "flax"),
    ),
    "NaN": (
        {**KERAS, "gamma": [1.0, np.nan], "moving_mean": [0.0, 0.0]},
        {"source": "keras", "target": "flax"},
        ConversionError.not_finite("keras", "gamma", 1),
    ),
    "a negative variance": (
        {**TORCH, "running_var": [-1.0]},
        {"source": "torch", "target": "torch", "allow_loss": True},
        ConversionError.negative_variance("torch", "running_var", -1.0, 0),
    ),
    "a negative divisor": (
        {"mean": [-6.0], "variance": [-8.0], "scale_factor": [-2.0]},
        {"source": "caffe", "target": "torch", "allow_loss": True},
        ConversionError.negative_divisor("caffe", "scale_factor", -2.0),
    ),
    "sums divided by almost nothing": (
        {"mean": [2.0], "variance": [1.0], "scale_factor": [5e-324]},
        {"source": "caffe", "target": "torch", "allow_loss": True},
        ConversionError.not_finite("caffe", "mean", 0),
    ),
    "a mean too large for its dtype": (
        {name: np.array([value], np.float32) for name, value in SMALL_DIVISOR.items()},
        {"source": "caffe", "target": "torch", "allow_loss": True},
        ConversionError.cannot_hold(
            "torch", "running_mean", "be within the range of float32", 2.0**141, 0
        ),
    ),
    "no statistics": (
        {"weight": [1.0], "bias": [0.0]},
        {
            "source": "torch",
            "target": "flax",
            "source_options": {"track_running_stats": False},
        },
        ConversionError.no_statistics("torch"),
    ),
    "a gamma that cannot be written": (
        {**KERAS, "gamma": [-2.0]},
        {"source": "keras", "target": "inplace-abn", "allow_loss": True},
        ConversionError.cannot_hold("inplace-abn", "gamma", "be 0.001 or greater", -2.0, 0),
    ),
    "arrays of two sizes": (
        {**KERAS, "moving_mean": [0.0, 0.0]},
        {"source": "keras", "target": "flax"},
        ShapeError.stored("keras", "moving_mean", (2,), (1,)),
    ),
    "an array missing": (
        BARE,
        {"source": "torch", "target": "mlx"},
        RangeError.stored_missing("weight", "torch"),
    ),
    "n too small": (
        KERAS,
        {"source": "keras", "target": "torch", "n": 1},
        RangeError.values_per_channel(1),
    ),
    "n no number": (
        KERAS,
        {"source": "keras", "target": "torch", "n": 0.5},
        RangeError.values_per_channel(0.5),
    ),
    "an estimate to restate, and no n": (
        KERAS,
        {"source": "keras", "target": "torch", "preserve": "estimator", "allow_loss": True},
        RangeError.values_per_channel(None),
    ),
    "eps that the framework has no default for": (
        {
            "bnScale": [1.0],
            "bnBias": [0.0],
            "resultRunningMean": [0.0],
            "resultRunningVariance": [1.0],
        },
        {"source": "cudnn", "target": "torch"},
        RangeError.option_missing("epsilon", "cudnn"),
    ),
}


@pytest.mark.parametrize(("state", "arguments", "error"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_converted_is_refused(
    state: Any, arguments: dict[str, Any], error: BacknormError
) -> None:
    """With the message of the house."""
    with pytest.raises(type(error), match=f"^{re.escape(str(error))}$"):
        bn.convert_state(state, **arguments)
