"""Caffe's BatchNorm layer, and the Scale layer that usually follows it."""

from __future__ import annotations

from typing import Final

from backnorm.dialects.columns import Array, Choice, Fact, Option, Requests, Row

__all__ = ["CAFFE"]

_LAYER = "batch_norm_layer.cpp"
_PROTO = "caffe.proto, BatchNormParameter"
_SCALE = "scale_layer.cpp; caffe.proto, ScaleParameter"
_GOLDEN = "tests/dialects/goldens/caffe"

CAFFE: Final = Row(
    name="caffe",
    title="Caffe 1.0 (BVLC)",
    source="BVLC/caffe at 9b891540: src/caffe/layers, src/caffe/proto; Caffe 1.0.0 ran on the CPU",
    traps=(
        "The first two blobs are sums of weighted statistics: divide them by the third.",
        (
            "A third blob of 0 makes mean and variance 0, and y = x/sqrt(eps). Layers that were"
            " never trained have a 0 there; so may files of NVIDIA's Caffe, which does not use it."
        ),
        (
            "use_global_stats, once set, holds in both phases: with false the phase TEST changes "
            "the blobs too."
        ),
        (
            "gamma and beta are in a separate Scale layer, whose bias_term is false by default; "
            "scale=True here stands for a Scale layer with bias_term: true, as networks have it."
        ),
        (
            "A learning rate for a blob aborts. Only where a layer of an old prototxt has exactly "
            "three param entries does the reader set them to 0."
        ),
        "eps and the fraction are float32 in the protocol.",
        "The in-place form keeps a copy of x_hat in Caffe, and a copy of x here.",
    ),
    momentum=Fact(Option("moving_average_fraction", 0.999), f"{_PROTO}; {_GOLDEN}"),
    momentum_weighs=Fact("old", f"{_LAYER}, Forward_cpu; {_GOLDEN}"),
    momentum_none=Fact("refused", _PROTO),
    momentum_width=Fact("float32", f"{_PROTO}: a float"),
    storage=Fact("sums and their divisor", f"{_LAYER}, Forward_cpu; {_GOLDEN}"),
    running_var=Fact("unbiased", f"{_LAYER}, Forward_cpu: m/(m-1); {_GOLDEN}"),
    variance_from=Fact("deviations", f"{_LAYER}, Forward_cpu; {_GOLDEN}"),
    initial=Fact((0.0, 0.0), f"{_LAYER}, LayerSetUp; {_GOLDEN}"),
    copied_updates=Fact(0, f"{_LAYER}, Forward_cpu; {_GOLDEN}"),
    updates_in=Fact("forward", f"{_LAYER}, Forward_cpu; {_GOLDEN}"),
    statistics=Fact(
        Choice("use_global_stats", None, {None: "mode", True: "frozen", False: "batch"}),
        f"{_LAYER}, LayerSetUp; {_GOLDEN}",
    ),
    normalizes_with=Fact("batch", f"{_LAYER}, Forward_cpu; {_GOLDEN}"),
    one_value=Fact("zero variance", f"{_LAYER}, Forward_cpu: a factor of 1; {_GOLDEN}"),
    frozen_gradient=Fact("constants", f"{_LAYER}, Backward_cpu; {_GOLDEN}"),
    eps=Fact(Option("eps", 1e-5), f"{_PROTO}; {_GOLDEN}"),
    eps_floor=Fact(0.0, f"{_LAYER}, LayerSetUp: none"),
    eps_below_floor=Fact("refused", f"{_LAYER}, LayerSetUp: a root of what is negative"),
    eps_width=Fact("float32", f"{_PROTO}: a float"),
    zero_root=Fact("infinite", f"{_LAYER}, Forward_cpu: no special case"),
    affine_in=Fact("another layer", _SCALE),
    gamma_options=Fact((Option("scale", default=False),), f"{_SCALE}; {_GOLDEN}"),
    beta_options=Fact(
        (Option("scale", default=False), Option("bias_term", default=True)), f"{_SCALE}; {_GOLDEN}"
    ),
    gamma_rule=Fact("stored", f"{_SCALE}; {_GOLDEN}"),
    fixed_gamma=Fact(Option(None, default=False), f"{_SCALE}: none"),
    axis=Fact(Choice(None, 1), f"{_LAYER}, Reshape: shape(1); {_GOLDEN}"),
    in_place=Fact(Option("in_place", default=False), f"{_LAYER}: bottom = top; {_GOLDEN}"),
    learning_rates=Fact(
        Option("lr_mult", (0.0, 0.0, 0.0)), f"{_LAYER}, LayerSetUp; util/upgrade_proto.cpp"
    ),
    silent_options=Fact((), _PROTO),
    requests=Fact(Requests("write (always)", "add", "add"), f"{_LAYER} and {_SCALE}, Backward_cpu"),
    extra_outputs=Fact("none", _PROTO),
    arrays=Fact(
        (
            Array("mean", "mean"),
            Array("variance", "var"),
            Array("scale_factor", "divisor", shape=(1,)),
            Array("gamma", "gamma"),
            Array("beta", "beta"),
        ),
        f"{_LAYER}: blobs 0 to 2; {_SCALE}: blobs 0 and 1; {_GOLDEN}",
    ),
)
