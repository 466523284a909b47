"""The BatchNorm layer of NVIDIA's Caffe, in its own CPU engine."""

from __future__ import annotations

from typing import Final

from backnorm.dialects.columns import Array, Choice, Fact, Option, Requests, Row

__all__ = ["CAFFE_NVIDIA"]

_LAYER = "batch_norm_layer.cpp"
_PROTO = "caffe.proto, BatchNormParameter"
_GOLDEN = "tests/dialects/goldens/caffe-nvidia.json"

CAFFE_NVIDIA: Final = Row(
    name="caffe-nvidia",
    title="NVIDIA Caffe, CPU engine",
    source="NVIDIA/caffe at 87a25543: src/caffe/layers; read, not run: it is not in any package",
    traps=(
        (
            "The running variance has eps in it already, and eval adds eps again. The CUDA "
            "engine stores a biased variance without eps, the cuDNN engine an unbiased one."
        ),
        "The third blob is 1 and not a divisor: BVLC's Caffe divides by it.",
        "The first two updates copy, also after a file was loaded: no blob holds their count.",
        "use_global_stats is read and ignored: the phase alone decides.",
        (
            "The backward pass has no branch for running statistics: in the phase TEST it reads"
            " x_hat of the last training pass. The layer here refuses that gradient."
        ),
        (
            "Learning rates are overwritten: 0 for the statistics, 1 for gamma and beta. The "
            "gradients of gamma and beta are overwritten too, where other layers accumulate."
        ),
        "Files have five blobs with scale_bias and three without; BVLC's have three.",
    ),
    momentum=Fact(Option("moving_average_fraction", 0.999), f"{_PROTO}; {_GOLDEN}"),
    momentum_weighs=Fact("old", _LAYER),
    momentum_none=Fact("refused", _PROTO),
    momentum_width=Fact("float32", f"{_PROTO}: a float"),
    storage=Fact("averages, eps in the variance", f"{_LAYER}, Forward_cpu; {_GOLDEN}"),
    running_var=Fact("biased", f"{_LAYER}, Forward_cpu; {_GOLDEN}"),
    variance_from=Fact("deviations", f"{_LAYER}, Forward_cpu"),
    initial=Fact((0.0, 0.0), f"{_LAYER}, LayerSetUp"),
    copied_updates=Fact(2, f"{_LAYER}, Forward_cpu: iterations 0 and 1; {_GOLDEN}"),
    updates_in=Fact("forward", f"{_LAYER}, Forward_cpu; {_GOLDEN}"),
    statistics=Fact(Choice(None, None, {None: "mode"}), f"{_LAYER}: the phase"),
    normalizes_with=Fact("batch", f"{_LAYER}, Forward_cpu"),
    one_value=Fact("zero variance", f"{_LAYER}, Forward_cpu: nothing is divided by m - 1"),
    frozen_gradient=Fact("none", f"{_LAYER}, Forward_cpu: x_norm_ is written in TRAIN only"),
    eps=Fact(Option("eps", 1e-5), _PROTO),
    eps_floor=Fact(1e-5, f"{_LAYER}, LayerSetUp"),
    eps_below_floor=Fact("raised", f"{_LAYER}, LayerSetUp"),
    eps_width=Fact("float32", f"{_PROTO}: a float"),
    zero_root=Fact("infinite", f"{_LAYER}, Forward_cpu: no special case"),
    affine_in=Fact("same layer", f"{_LAYER}: blobs 3 and 4"),
    gamma_options=Fact((Option("scale_bias", default=False),), f"{_PROTO}, scale_bias"),
    beta_options=Fact((Option("scale_bias", default=False),), f"{_PROTO}, scale_bias"),
    gamma_rule=Fact("stored", f"{_LAYER}, Forward_cpu"),
    fixed_gamma=Fact(Option(None, default=False), f"{_PROTO}: none"),
    axis=Fact(Choice(None, 1), f"{_LAYER}: four axes, shape(1)"),
    in_place=Fact(Option("in_place", default=False), f"{_LAYER}: bottom = top"),
    learning_rates=Fact(Option(None, (0.0, 0.0, 0.0)), f"{_LAYER}, LayerSetUp: overwritten"),
    silent_options=Fact((Option("use_global_stats", None),), f"{_LAYER}: read and ignored"),
    requests=Fact(Requests("write (always)", "write", "write"), f"{_LAYER}, Backward_cpu"),
    extra_outputs=Fact("none", _PROTO),
    arrays=Fact(
        (
            Array("mean", "mean"),
            Array("variance", "var"),
            Array("variance_correction", "one", shape=(1,)),
            Array("scale", "gamma"),
            Array("bias", "beta"),
        ),
        f"{_LAYER}, LayerSetUp: blobs 0 to 4",
    ),
)
