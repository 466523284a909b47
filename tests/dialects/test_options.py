"""Options carry the framework's names, and are checked against the row."""

from __future__ import annotations

import re
from typing import Any

import pytest

import backnorm as bn
from backnorm.dialects import DIALECTS, row_of
from backnorm.errors import BacknormError, RangeError, UnknownNameError
from dialects.layers import GOLDEN, REQUIRED_OPTIONS, make

option = RangeError.option
NUMBER = "be a finite number, 0 or greater"

WRONG: dict[str, tuple[dict[str, Any], BacknormError]] = {
    "no such dialect": (
        {"dialect": "kaffe"},
        UnknownNameError.choice("dialect", "kaffe", DIALECTS),
    ),
    "no name of a dialect": (
        {"dialect": ["caffe"]},
        UnknownNameError.choice("dialect", ["caffe"], DIALECTS),
    ),
    "an eps that no float holds": (
        {"dialect": "caffe", "eps": 10**400},
        option("eps", NUMBER, 10**400, "caffe"),
    ),
    "a momentum that no float holds": (
        {"dialect": "torch", "momentum": 10**5000},
        option("momentum", "be a number from 0 to 1", 10**5000, "torch"),
    ),
    "another framework's option": (
        {"dialect": "torch", "epsilon": 1e-3},
        UnknownNameError.option(
            "epsilon",
            "torch",
            ("momentum", "track_running_stats", "eps", "affine", "bias"),
        ),
    ),
    "no such option": (
        {"dialect": "flax", "gamma": True},
        UnknownNameError.option(
            "gamma",
            "flax",
            (
                "momentum",
                "use_running_average",
                "epsilon",
                "use_scale",
                "use_bias",
                "axis",
                "use_fast_variance",
            ),
        ),
    ),
    "negative eps": ({"dialect": "torch", "eps": -1.0}, option("eps", NUMBER, -1.0, "torch")),
    "eps a word": ({"dialect": "torch", "eps": "x"}, option("eps", NUMBER, "x", "torch")),
    "eps below the floor": (
        {"dialect": "mxnet-cudnn", "eps": 1e-6},
        option("eps", "be 1e-05 or greater", 1e-6, "mxnet-cudnn"),
    ),
    "momentum above 1": (
        {"dialect": "keras", "momentum": 1.5},
        option("momentum", "be a number from 0 to 1", 1.5, "keras"),
    ),
    "no momentum": (
        {"dialect": "keras", "momentum": None},
        option("momentum", "be a number from 0 to 1", None, "keras"),
    ),
    "momentum a flag": (
        {"dialect": "torch", "momentum": True},
        option("momentum", "be a number from 0 to 1", got=True, dialect="torch"),
    ),
    "a flag that is a number": (
        {"dialect": "mxnet", "fix_gamma": 1},
        option("fix_gamma", "be True or False", 1, "mxnet"),
    ),
    "a choice that is a number": (
        {"dialect": "caffe", "use_global_stats": 1},
        option("use_global_stats", "be None or True or False", 1, "caffe"),
    ),
    "a layout that does not exist": (
        {"dialect": "tf-fused", "data_format": "HWC"},
        option("data_format", "be 'NHWC' or 'NCHW' or 'NDHWC' or 'NCDHW'", "HWC", "tf-fused"),
    ),
    "an axis that is not a number": (
        {"dialect": "mxnet", "axis": "C"},
        option("axis", "be a whole number", "C", "mxnet"),
    ),
    "a required option": (
        {"dialect": "haiku", "create_scale": True, "create_offset": True},
        RangeError.option_missing("decay_rate", "haiku"),
    ),
    "a learning rate for the blobs": (
        {"dialect": "caffe", "lr_mult": (1.0, 1.0, 0.0)},
        RangeError.learning_rate("lr_mult", (1.0, 1.0, 0.0), "caffe"),
    ),
    "one learning rate": (
        {"dialect": "caffe", "lr_mult": 1.0},
        RangeError.learning_rate("lr_mult", 1.0, "caffe"),
    ),
    "no channels": ({"dialect": "torch", "num_features": 0}, RangeError.features(0)),
    "half a channel": ({"dialect": "torch", "num_features": 0.5}, RangeError.features(0.5)),
}


@pytest.mark.parametrize(("arguments", "error"), WRONG.values(), ids=WRONG)
def test_a_wrong_option_is_an_error(arguments: dict[str, Any], error: BacknormError) -> None:
    """With the message of the house."""
    with pytest.raises(type(error), match=f"^{re.escape(str(error))}$"):
        bn.BatchNorm(**{"num_features": 3, **arguments})


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_defaults_are_filled_in(dialect: str) -> None:
    """What a layer was not told it shows, and can be told back."""
    layer = make(dialect)
    again = bn.BatchNorm(layer.num_features, dialect=dialect, **layer.options)
    assert again.options == layer.options
    assert repr(again) == repr(layer)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_defaults_are_the_frameworks(dialect: str) -> None:
    """The golden names at least those of eps and momentum, if the framework has them."""
    row, defaults = row_of(dialect), GOLDEN[dialect]["defaults"]
    options = bn.BatchNorm(2, dialect=dialect, **REQUIRED_OPTIONS[dialect]).options
    assert {name: options[name] for name in defaults} == defaults
    named = {row.eps.known.name, row.momentum.known.name} - set(REQUIRED_OPTIONS[dialect])
    assert named <= set(defaults)


def test_eps_is_raised_where_the_framework_raises_it() -> None:
    """NVIDIA's floor."""
    assert bn.BatchNorm(2, dialect="caffe-nvidia", eps=1e-6)._settings.eps == 1e-5


def test_mxnets_own_eps_is_that_of_float32() -> None:
    """1e-3f in its source, which float64 data shows; one that is given is taken as it is."""
    assert bn.BatchNorm(2, dialect="mxnet").options["eps"] == 0.0010000000474974513
    assert bn.BatchNorm(2, dialect="mxnet", eps=1e-3).options["eps"] == 1e-3
