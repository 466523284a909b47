"""TensorFlow's fused_batch_norm."""

from __future__ import annotations

from typing import Final

from backnorm.dialects.columns import Array, Choice, Fact, Option, Requests, Row

__all__ = ["TF_FUSED"]

_KERNEL = "core/kernels/fused_batch_norm_op.cc"
_NN = "python/ops/nn_impl.py, fused_batch_norm"
_GOLDEN = "tests/dialects/goldens/tf-fused.json"
_LIVE = "tests/with_frameworks/test_dialects.py"

TF_FUSED: Final = Row(
    name="tf-fused",
    title="TensorFlow, fused_batch_norm (V3) on the CPU",
    source="tensorflow at 057091db: core/kernels, python/ops; TensorFlow 2.21.0 ran on the CPU",
    traps=(
        (
            "exponential_avg_factor is the weight of the new and is 1 by default: the function "
            "then returns the statistics of the batch, not running ones."
        ),
        (
            "The variance it returns is unbiased, the variance it normalizes with is biased. Keras "
            "on top of it is therefore unbiased on images and biased on matrices, which take "
            "another path."
        ),
        "It returns the new statistics and does not store them: here the layer's state takes them.",
        "Older versions raised an eps below 1.001e-5 to it; 2.21.0 takes any.",
        "With one value per channel the CPU gives finite statistics, the GPU NaN.",
        "The reserved output is the variance on the CPU and 1/std through cuDNN.",
    ),
    momentum=Fact(Option("exponential_avg_factor", 1.0), f"{_NN}; {_GOLDEN}; {_LIVE}"),
    momentum_weighs=Fact("new", f"{_KERNEL}, CPU; {_GOLDEN}; {_LIVE}"),
    momentum_none=Fact("refused", _NN),
    momentum_width=Fact("float32", f"{_KERNEL}: a float attribute"),
    storage=Fact("averages", f"{_KERNEL}, CPU; {_GOLDEN}; {_LIVE}"),
    running_var=Fact("unbiased", f"{_KERNEL}, CPU: rest_size_adjust; {_GOLDEN}; {_LIVE}"),
    variance_from=Fact("deviations", f"{_KERNEL}, CPU; {_LIVE}"),
    initial=Fact((0.0, 1.0), "as Keras makes them; the function keeps no state"),
    copied_updates=Fact(0, f"{_KERNEL}, CPU; {_GOLDEN}; {_LIVE}"),
    updates_in=Fact("returned", f"{_NN}: outputs; {_LIVE}"),
    statistics=Fact(
        Choice("is_training", default=True, meaning={True: "mode", False: "frozen"}), _NN
    ),
    normalizes_with=Fact("batch", f"{_KERNEL}, CPU; {_LIVE}"),
    one_value=Fact("zero variance", f"{_KERNEL}, CPU: divided by max(m - 1, 1); {_LIVE}"),
    frozen_gradient=Fact("constants", "python/ops/nn_fused_batch_norm_grad.py"),
    eps=Fact(Option("epsilon", 1e-3), f"{_NN}; {_GOLDEN}; {_LIVE}"),
    eps_floor=Fact(0.0, f"{_NN}: none in 2.21.0; {_LIVE}"),
    eps_below_floor=Fact("refused", f"{_NN}: a root of what is negative"),
    eps_width=Fact("float32", f"{_KERNEL}: a float attribute"),
    zero_root=Fact("infinite", f"{_KERNEL}, CPU: no special case"),
    affine_in=Fact("same layer", _NN),
    gamma_options=Fact((), f"{_NN}: always"),
    beta_options=Fact((), f"{_NN}: always"),
    gamma_rule=Fact("stored", f"{_KERNEL}, CPU"),
    fixed_gamma=Fact(Option(None, default=False), f"{_NN}: none"),
    axis=Fact(Choice("data_format", "NHWC", {"NHWC": -1, "NCHW": 1, "NDHWC": -1, "NCDHW": 1}), _NN),
    in_place=Fact(Option(None, default=False), f"{_NN}: none"),
    learning_rates=Fact(Option(None, (0.0,)), f"{_NN}: no parameters"),
    silent_options=Fact((), _NN),
    requests=Fact(Requests("write", "write", "write"), "automatic differentiation"),
    extra_outputs=Fact("none", f"{_NN}: the new statistics, which are in the state here"),
    arrays=Fact(
        (
            Array("scale", "gamma"),
            Array("offset", "beta"),
            Array("mean", "mean"),
            Array("variance", "var"),
        ),
        _NN,
    ),
)
