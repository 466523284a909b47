"""Paddle's BatchNorm layers on the CPU."""

from __future__ import annotations

from typing import Final

from backnorm.dialects.columns import Array, Choice, Fact, Option, Requests, Row

__all__ = ["PADDLE"]

_LAYER = "python/paddle/nn/layer/norm.py, _BatchNormBase"
_KERNEL = "paddle/phi/kernels/cpu/batch_norm_kernel.cc"
_GRAD = "paddle/phi/kernels/cpu/batch_norm_grad_kernel.cc"
_GOLDEN = "tests/dialects/goldens/paddle.json"
_LIVE = "tests/with_frameworks/test_dialects.py"

PADDLE: Final = Row(
    name="paddle",
    title="Paddle, BatchNorm1D to BatchNorm3D on the CPU",
    source=(
        "Paddle at 0b3b64e6: paddle/phi/kernels/cpu, python/paddle/nn; Paddle 3.3.1 ran on the CPU"
    ),
    traps=(
        "momentum is the weight of the old.",
        "The running variance is biased on the CPU and unbiased through cuDNN.",
        (
            "With one value per channel y is x and dx is dy; the gradients of weight and bias "
            "are 0 and the statistics stay."
        ),
        "use_global_stats=False normalizes by the batch in eval too, and goes on updating.",
        "weight_attr=False leaves the weight out of the state; versions before 3 kept ones there.",
    ),
    momentum=Fact(Option("momentum", 0.9), f"{_LAYER}; {_GOLDEN}; {_LIVE}"),
    momentum_weighs=Fact("old", f"{_KERNEL}; {_GOLDEN}; {_LIVE}"),
    momentum_none=Fact("refused", _LAYER),
    momentum_width=Fact("float32", f"{_KERNEL}: a float argument"),
    storage=Fact("averages", f"{_KERNEL}; {_GOLDEN}; {_LIVE}"),
    running_var=Fact("biased", f"{_KERNEL}; {_GOLDEN}; {_LIVE}"),
    variance_from=Fact("deviations", f"{_KERNEL}; {_LIVE}"),
    initial=Fact((0.0, 1.0), f"{_LAYER}; {_GOLDEN}"),
    copied_updates=Fact(0, f"{_KERNEL}; {_GOLDEN}; {_LIVE}"),
    updates_in=Fact("forward", f"{_KERNEL}; {_GOLDEN}; {_LIVE}"),
    statistics=Fact(
        Choice("use_global_stats", None, {None: "mode", True: "frozen", False: "batch"}),
        f"python/paddle/nn/functional/norm.py; {_LAYER}",
    ),
    normalizes_with=Fact("batch", f"{_KERNEL}; {_LIVE}"),
    one_value=Fact("identity", f"{_KERNEL}; {_GRAD}; {_LIVE}"),
    frozen_gradient=Fact("constants", _GRAD),
    eps=Fact(Option("epsilon", 1e-5), f"{_LAYER}; {_GOLDEN}; {_LIVE}"),
    eps_floor=Fact(0.0, f"{_KERNEL}: 0 to 1e-3"),
    eps_below_floor=Fact("refused", _KERNEL),
    eps_width=Fact("float32", f"{_KERNEL}: a float argument"),
    zero_root=Fact("infinite", f"{_KERNEL}: no special case"),
    affine_in=Fact("same layer", _LAYER),
    gamma_options=Fact(
        (Option("weight_attr", default=True),),
        f"{_LAYER}: True or None, which mean the same; {_LIVE}",
    ),
    beta_options=Fact(
        (Option("bias_attr", default=True),),
        f"{_LAYER}: True or None, which mean the same; {_LIVE}",
    ),
    gamma_rule=Fact("stored", _KERNEL),
    fixed_gamma=Fact(Option(None, default=False), f"{_LAYER}: none"),
    axis=Fact(
        Choice(
            "data_format",
            "NCHW",
            {"NCHW": 1, "NHWC": -1, "NC": 1, "NCL": 1, "NLC": -1, "NCDHW": 1, "NDHWC": -1},
        ),
        _LAYER,
    ),
    in_place=Fact(Option(None, default=False), f"{_LAYER}: none"),
    learning_rates=Fact(Option(None, (0.0,)), f"{_LAYER}: buffers"),
    silent_options=Fact((), _LAYER),
    requests=Fact(Requests("add, null", "add, null", "add, null"), "stop_gradient"),
    extra_outputs=Fact("none", f"{_LAYER}: saved_mean and saved_variance stay inside"),
    arrays=Fact(
        (
            Array("weight", "gamma"),
            Array("bias", "beta"),
            Array("_mean", "mean"),
            Array("_variance", "var"),
        ),
        _LAYER,
    ),
)
