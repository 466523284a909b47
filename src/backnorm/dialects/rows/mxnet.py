"""MXNet's BatchNorm operator, native on the CPU."""

from __future__ import annotations

from typing import Final

from backnorm.dialects.columns import Array, Choice, Fact, Option, Requests, Row

__all__ = ["MXNET"]

_OP = "batch_norm.cc"
_PARAM = "batch_norm-inl.h, BatchNormParam"
_GOLDEN = "tests/dialects/goldens/mxnet"

MXNET: Final = Row(
    name="mxnet",
    title="MXNet 1.9.1, native on the CPU",
    source="apache/mxnet 1.9.1: src/operator/nn; MXNet 1.9.1 ran on the CPU, without oneDNN",
    traps=(
        (
            "The running statistics change in backward: a forward pass alone changes nothing, "
            "two backward passes change them twice, and if neither data nor gamma nor beta "
            "wants a gradient they never change."
        ),
        (
            "fix_gamma is true by default: gamma is set to 1 in its own array by the forward "
            "pass, and its gradient is 0 for write and left alone for add. Gluon's layer sets "
            "it to false."
        ),
        "A stored gamma may differ from 1 although it is not used.",
        (
            "eps is 1e-3 in the operator (rounded to float32, which float64 data shows; one "
            "that is given is not rounded) and 1e-5 in Gluon's layer."
        ),
        "The third output is 1/sqrt(var + eps), whatever its name.",
        (
            "With float16 data var + eps is rounded to float16, and the running variance is "
            "computed back from it."
        ),
        (
            "With eps=0 a constant channel has inv_std 0 in training, so y = beta; its running "
            "variance becomes infinite."
        ),
        "momentum is float32 also where all else is float64.",
        "Through cuDNN it is another dialect: mxnet-cudnn.",
    ),
    momentum=Fact(Option("momentum", 0.9), f"{_PARAM}; {_GOLDEN}"),
    momentum_weighs=Fact("old", f"{_OP}, BatchNormBackwardImpl; {_GOLDEN}"),
    momentum_none=Fact("refused", _PARAM),
    momentum_width=Fact("float32", f"{_PARAM}: a float; {_GOLDEN}, the float64 cases"),
    storage=Fact("averages", f"{_OP}, BatchNormBackwardImpl; {_GOLDEN}"),
    running_var=Fact("biased", f"{_OP}, BatchNormBackwardImpl; {_GOLDEN}"),
    variance_from=Fact("inv_std", f"{_OP}, BatchNormBackwardImpl: VARIANCE_TO_INVSTD undone"),
    initial=Fact((0.0, 1.0), "gluon/nn/basic_layers.py; the symbol's __init__ attributes"),
    copied_updates=Fact(0, f"{_OP}; {_GOLDEN}"),
    updates_in=Fact("backward", f"{_OP}, BatchNormBackwardImpl; {_GOLDEN}"),
    statistics=Fact(
        Choice("use_global_stats", default=False, meaning={False: "mode", True: "frozen"}),
        f"{_PARAM}; {_GOLDEN}",
    ),
    normalizes_with=Fact("batch", f"{_OP}, BatchNormForwardImpl; {_GOLDEN}"),
    one_value=Fact("zero variance", f"{_OP}; run: y = beta, dx = 0"),
    frozen_gradient=Fact("constants", f"{_OP}, BatchNormBackwardImpl; {_GOLDEN}"),
    eps=Fact(
        Option("eps", 0.0010000000474974513), f"{_PARAM}: 1e-3f; {_GOLDEN}, the float64 cases"
    ),
    eps_floor=Fact(0.0, f"{_PARAM}: none"),
    eps_below_floor=Fact("refused", f"{_PARAM}: a root of what is negative"),
    eps_width=Fact("input", f"{_OP}: var + DType(eps); {_GOLDEN}, the float16 case"),
    zero_root=Fact("zero", f"{_OP}, BatchNormForwardImpl: in training; run"),
    affine_in=Fact("same layer", _OP),
    gamma_options=Fact((), f"{_OP}: always"),
    beta_options=Fact((), f"{_OP}: always"),
    gamma_rule=Fact("stored", f"{_OP}; {_GOLDEN}"),
    fixed_gamma=Fact(Option("fix_gamma", default=True), f"{_PARAM}; {_GOLDEN}"),
    axis=Fact(Choice("axis", 1), f"{_PARAM}; {_GOLDEN}"),
    in_place=Fact(Option(None, default=False), f"{_OP}: not offered by the interface"),
    learning_rates=Fact(Option(None, (0.0,)), f"{_OP}: auxiliary states"),
    silent_options=Fact(
        (Option("output_mean_var", default=False), Option("cudnn_off", default=False)),
        f"{_PARAM}; {_GOLDEN}",
    ),
    requests=Fact(
        Requests("write, add, null", "write, add, null", "write, add, null"), f"{_OP}; {_GOLDEN}"
    ),
    extra_outputs=Fact("mean and inv_std", f"{_OP}, BatchNormForwardImpl; {_GOLDEN}"),
    arrays=Fact(
        (
            Array("gamma", "gamma"),
            Array("beta", "beta"),
            Array("moving_mean", "mean"),
            Array("moving_var", "var"),
        ),
        f"{_OP}, ListArguments and ListAuxiliaryStates; {_GOLDEN}_params",
    ),
)
