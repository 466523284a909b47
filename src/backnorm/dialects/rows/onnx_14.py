"""ONNX's BatchNormalization since opset 14."""

from __future__ import annotations

from typing import Final

from backnorm.dialects.columns import Array, Choice, Fact, Option, Requests, Row

__all__ = ["ONNX_14"]

_SPEC = "onnx/defs/nn, BatchNormalization-14"
_LIVE = "tests/with_frameworks/test_onnx.py"

ONNX_14: Final = Row(
    name="onnx-14",
    title="ONNX opset 14, BatchNormalization",
    source=(
        "onnx at f7546912: onnx/defs/nn, onnx/reference; "
        "the ReferenceEvaluator of onnx 1.23.2 and onnxruntime 1.32.0 ran on the CPU"
    ),
    traps=(
        "training_mode=1 returns new statistics; here the layer's state takes them.",
        (
            "The running variance is biased: the text says population variance. PyTorch's, "
            "exported in training, becomes something else."
        ),
        "momentum is the weight of the old.",
        "No gradient is defined; what is given here is the derivative.",
    ),
    momentum=Fact(Option("momentum", 0.9), f"{_SPEC}; {_LIVE}"),
    momentum_weighs=Fact("old", f"{_SPEC}; {_LIVE}"),
    momentum_none=Fact("refused", _SPEC),
    momentum_width=Fact("float32", f"{_SPEC}: a FLOAT attribute; {_LIVE}"),
    storage=Fact("averages", f"{_SPEC}; {_LIVE}"),
    running_var=Fact("biased", f"{_SPEC}: population variance; {_LIVE}"),
    variance_from=Fact("deviations", _SPEC),
    initial=Fact((0.0, 1.0), "as exporters write them; the operator keeps no state"),
    copied_updates=Fact(0, f"{_SPEC}; {_LIVE}"),
    updates_in=Fact("returned", f"{_SPEC}; {_LIVE}"),
    statistics=Fact(Choice(None, None, {None: "mode"}), f"{_SPEC}: training_mode; {_LIVE}"),
    normalizes_with=Fact("batch", f"{_SPEC}; {_LIVE}"),
    one_value=Fact("zero variance", f"{_SPEC}: no special case"),
    frozen_gradient=Fact("constants", "not defined by ONNX: the derivative of the forward pass"),
    eps=Fact(Option("epsilon", 1e-5), f"{_SPEC}; {_LIVE}"),
    eps_floor=Fact(0.0, f"{_SPEC}: none"),
    eps_below_floor=Fact("refused", f"{_SPEC}: a root of what is negative"),
    eps_width=Fact("float32", f"{_SPEC}: a FLOAT attribute; {_LIVE}"),
    zero_root=Fact("infinite", f"{_SPEC}: no special case"),
    affine_in=Fact("same layer", _SPEC),
    gamma_options=Fact((), f"{_SPEC}: always"),
    beta_options=Fact((), f"{_SPEC}: always"),
    gamma_rule=Fact("stored", f"{_SPEC}; {_LIVE}"),
    fixed_gamma=Fact(Option(None, default=False), f"{_SPEC}: none"),
    axis=Fact(Choice(None, 1), f"{_SPEC}; {_LIVE}"),
    in_place=Fact(Option(None, default=False), f"{_SPEC}: none"),
    learning_rates=Fact(Option(None, (0.0,)), f"{_SPEC}: inputs"),
    silent_options=Fact((), _SPEC),
    requests=Fact(Requests("write", "write", "write"), "not defined by ONNX"),
    extra_outputs=Fact("none", f"{_SPEC}: the new statistics, which are in the state here"),
    arrays=Fact(
        (
            Array("scale", "gamma"),
            Array("B", "beta"),
            Array("input_mean", "mean"),
            Array("input_var", "var"),
        ),
        f"{_SPEC}; {_LIVE}",
    ),
)
