"""Haiku's BatchNorm module."""

from __future__ import annotations

from typing import Final

from backnorm.dialects.columns import REQUIRED, Array, Choice, Fact, Option, Requests, Row

__all__ = ["HAIKU"]

_MODULE = "haiku/_src/batch_norm.py"
_EMA = "haiku/_src/moving_averages.py"
_GOLDEN = "tests/dialects/goldens/haiku.json"
_LIVE = "tests/with_frameworks/test_haiku.py"

HAIKU: Final = Row(
    name="haiku",
    title="Haiku, BatchNorm",
    source="dm-haiku at f4d858a5: haiku/_src; dm-haiku 0.0.17 ran on the CPU",
    traps=(
        "create_scale, create_offset and decay_rate have no default.",
        (
            "The averages start at 0 and are freed of it when read: average = hidden/(1 - "
            "decay^t). Without an update mean and variance are 0, and y = x/sqrt(eps)."
        ),
        (
            "The variance is E[x^2] - E[x]^2 in the dtype of x, not cut at 0: a mean far from "
            "0 gives NaN there. Here it is computed without cancellation."
        ),
        (
            "scale, offset and the averages have the shape (1, ..., 1, C) there, (C,) here; "
            "either is loaded."
        ),
        "Everything is computed in the dtype of x, bfloat16 too.",
    ),
    momentum=Fact(Option("decay_rate", REQUIRED), f"{_MODULE}; {_GOLDEN}"),
    momentum_weighs=Fact("old", f"{_EMA}; {_GOLDEN}"),
    momentum_none=Fact("refused", _MODULE),
    momentum_width=Fact("float64", f"{_EMA}: converted to the dtype of the value; {_LIVE}"),
    storage=Fact("hidden averages and their count", f"{_EMA}; {_GOLDEN}; {_LIVE}"),
    running_var=Fact("biased", f"{_MODULE}; {_GOLDEN}; {_LIVE}"),
    variance_from=Fact("deviations", _MODULE),
    initial=Fact((0.0, 0.0), f"{_EMA}, zeros; {_GOLDEN}"),
    copied_updates=Fact(0, f"{_EMA}; {_GOLDEN}"),
    updates_in=Fact("forward", f"{_MODULE}, is_training; {_GOLDEN}"),
    statistics=Fact(Choice(None, None, {None: "mode"}), f"{_MODULE}: is_training of the call"),
    normalizes_with=Fact("batch", f"{_MODULE}; {_LIVE}"),
    one_value=Fact("zero variance", f"{_MODULE}: no special case"),
    frozen_gradient=Fact("constants", f"{_MODULE}: automatic; {_LIVE}"),
    eps=Fact(Option("eps", 1e-5), f"{_MODULE}; {_LIVE}"),
    eps_floor=Fact(0.0, f"{_MODULE}: none"),
    eps_below_floor=Fact("refused", f"{_MODULE}: a root of what is negative"),
    eps_width=Fact("input", f"{_MODULE}: converted to the dtype of the variance"),
    zero_root=Fact("infinite", f"{_MODULE}: no special case"),
    affine_in=Fact("same layer", _MODULE),
    gamma_options=Fact((Option("create_scale", REQUIRED),), _MODULE),
    beta_options=Fact((Option("create_offset", REQUIRED),), _MODULE),
    gamma_rule=Fact("stored", _MODULE),
    fixed_gamma=Fact(Option(None, default=False), f"{_MODULE}: none"),
    axis=Fact(
        Choice(
            "data_format",
            "channels_last",
            {"channels_last": -1, "channels_first": 1, "N...C": -1, "NC...": 1},
        ),
        f"{_MODULE}; hk.get_channel_index",
    ),
    in_place=Fact(Option(None, default=False), f"{_MODULE}: none"),
    learning_rates=Fact(Option(None, (0.0,)), f"{_EMA}: state, not parameters"),
    silent_options=Fact((), _MODULE),
    requests=Fact(Requests("write", "write", "write"), "automatic differentiation"),
    extra_outputs=Fact("none", _MODULE),
    arrays=Fact(
        (
            Array("scale", "gamma"),
            Array("offset", "beta"),
            Array("mean_ema/hidden", "mean"),
            Array("mean_ema/average", "average_mean"),
            Array("mean_ema/counter", "count", dtype="int32", shape=()),
            Array("var_ema/hidden", "var"),
            Array("var_ema/average", "average_var"),
            Array("var_ema/counter", "count", dtype="int32", shape=()),
        ),
        f"{_MODULE}; {_EMA}",
    ),
)
