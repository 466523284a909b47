"""PyTorch's BatchNorm layers."""

from __future__ import annotations

from typing import Final

from backnorm.dialects.columns import Array, Choice, Fact, Option, Requests, Row

__all__ = ["TORCH"]

_MODULE = "torch/nn/modules/batchnorm.py"
_FUNCTIONAL = "torch/nn/functional.py, batch_norm"
_CPU = "aten/src/ATen/native/Normalization.cpp"
_LIVE = "tests/with_torch/test_dialect.py"

TORCH: Final = Row(
    name="torch",
    title="PyTorch 2.13, BatchNorm1d to BatchNorm3d",
    source="PyTorch 2.13.0: torch/nn, aten/src/ATen/native; PyTorch 2.13.0 ran on the CPU",
    traps=(
        (
            "momentum is the weight of the new statistics; Keras, Flax, MXNet and Caffe mean "
            "the old."
        ),
        "The running variance is unbiased, the variance that normalizes is biased.",
        "momentum=None takes the plain mean of all batches, by num_batches_tracked.",
        "num_batches_tracked is missing in old checkpoints; it is then 0.",
        "track_running_stats=False has no buffers and normalizes by the batch in eval too.",
        "requires_grad=False on gamma and beta does not freeze the statistics: eval() does.",
        "One value per channel is refused in training, and so is an eps of 0.",
        "PyTorch passes an empty batch through and counts it. Here it is refused.",
        "bfloat16 parameters come with bfloat16 running statistics.",
    ),
    momentum=Fact(Option("momentum", 0.1), f"{_MODULE}; {_LIVE}"),
    momentum_weighs=Fact("new", f"{_CPU}, batch_norm_cpu_update_stats_template; {_LIVE}"),
    momentum_none=Fact("cumulative", f"{_MODULE}, _BatchNorm.forward; {_LIVE}"),
    momentum_width=Fact("float64", f"{_CPU}: a double; {_LIVE}"),
    storage=Fact("averages", f"{_CPU}; {_LIVE}"),
    running_var=Fact("unbiased", f"{_CPU}, batch_norm_cpu_update_stats_template; {_LIVE}"),
    variance_from=Fact("deviations", f"{_CPU}; {_LIVE}"),
    initial=Fact((0.0, 1.0), f"{_MODULE}, reset_running_stats; {_LIVE}"),
    copied_updates=Fact(0, f"{_MODULE}; {_LIVE}"),
    updates_in=Fact("forward", f"{_CPU}; {_LIVE}"),
    statistics=Fact(
        Choice("track_running_stats", default=True, meaning={True: "mode", False: "untracked"}),
        f"{_MODULE}, _BatchNorm.forward; {_LIVE}",
    ),
    normalizes_with=Fact("batch", f"{_CPU}; {_LIVE}"),
    one_value=Fact("refused", f"{_FUNCTIONAL}, _verify_batch_size; {_LIVE}"),
    frozen_gradient=Fact("constants", f"{_CPU}, batch_norm_backward_cpu_template; {_LIVE}"),
    eps=Fact(Option("eps", 1e-5), f"{_MODULE}; {_LIVE}"),
    eps_floor=Fact(0.0, f"{_FUNCTIONAL}: in eval; above 0 in training"),
    eps_below_floor=Fact("refused", _FUNCTIONAL),
    eps_width=Fact("float64", f"{_CPU}: a double"),
    zero_root=Fact("infinite", f"{_CPU}: no special case"),
    affine_in=Fact("same layer", _MODULE),
    gamma_options=Fact((Option("affine", default=True),), f"{_MODULE}; {_LIVE}"),
    beta_options=Fact(
        (Option("affine", default=True), Option("bias", default=True)), f"{_MODULE}; {_LIVE}"
    ),
    gamma_rule=Fact("stored", f"{_CPU}; {_LIVE}"),
    fixed_gamma=Fact(Option(None, default=False), f"{_MODULE}: none"),
    axis=Fact(Choice(None, 1), f"{_MODULE}, _check_input_dim; {_LIVE}"),
    in_place=Fact(Option(None, default=False), f"{_FUNCTIONAL}: none"),
    learning_rates=Fact(Option(None, (0.0,)), f"{_MODULE}: buffers"),
    silent_options=Fact((), _MODULE),
    requests=Fact(
        Requests("add, null", "add, null", "add, null"), "autograd accumulates; output_mask"
    ),
    extra_outputs=Fact("none", _MODULE),
    arrays=Fact(
        (
            Array("weight", "gamma"),
            Array("bias", "beta"),
            Array("running_mean", "mean"),
            Array("running_var", "var"),
            Array("num_batches_tracked", "count", dtype="int64", shape=(), optional=True),
        ),
        f"{_MODULE}, _NormBase; {_LIVE}",
    ),
)
