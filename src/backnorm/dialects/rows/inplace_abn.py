"""The normalization of inplace_abn, before its activation."""

from __future__ import annotations

from typing import Final

from backnorm.dialects.columns import Array, Choice, Fact, Option, Requests, Row

__all__ = ["INPLACE_ABN"]

_MODULE = "inplace_abn/abn.py"
_SOURCE = "src/inplace_abn_kernels.cuh, src/inplace_abn_cpu.cpp"
_GOLDEN = "tests/dialects/goldens/inplace-abn.json"
_RAN = "tests/dialects/goldens/make_inplace_abn.py"

INPLACE_ABN: Final = Row(
    name="inplace-abn",
    title="inplace_abn, InPlaceABN without its activation",
    source="inplace_abn at b50bfe9c: inplace_abn, src; inplace_abn 1.1.0 ran on the CPU",
    traps=(
        (
            "gamma is abs(weight) + eps: with a negative weight the function differs from "
            "BatchNorm and from ABN of the same package, and a gamma below eps cannot be written."
        ),
        (
            "The activation (leaky_relu with slope 0.01 by default) is part of that layer. The "
            "layer here stops before it; after a conversion, put it behind the target layer."
        ),
        "There x is always overwritten, and recovered from y in the backward pass; here x stays.",
        "momentum is the weight of the new, whatever its documentation said.",
        "One value per channel is refused; a second derivative is missing.",
    ),
    momentum=Fact(Option("momentum", 0.1), f"{_MODULE}; {_GOLDEN}"),
    momentum_weighs=Fact("new", f"{_SOURCE}; {_GOLDEN}; {_RAN}"),
    momentum_none=Fact("refused", _MODULE),
    momentum_width=Fact("float64", f"{_MODULE}: a Python float"),
    storage=Fact("averages", f"{_SOURCE}; {_GOLDEN}; {_RAN}"),
    running_var=Fact("unbiased", f"{_SOURCE}; {_GOLDEN}; {_RAN}"),
    variance_from=Fact("deviations", _SOURCE),
    initial=Fact((0.0, 1.0), f"{_MODULE}, reset_parameters; {_GOLDEN}"),
    copied_updates=Fact(0, f"{_SOURCE}; {_GOLDEN}; {_RAN}"),
    updates_in=Fact("forward", f"{_SOURCE}; {_GOLDEN}; {_RAN}"),
    statistics=Fact(Choice(None, None, {None: "mode"}), f"{_MODULE}: training"),
    normalizes_with=Fact("batch", _SOURCE),
    one_value=Fact("refused", f"{_SOURCE}: at least two values; {_RAN}"),
    frozen_gradient=Fact("constants", _SOURCE),
    eps=Fact(Option("eps", 1e-5), f"{_MODULE}; {_GOLDEN}"),
    eps_floor=Fact(0.0, f"{_MODULE}: none"),
    eps_below_floor=Fact("refused", f"{_SOURCE}: a root of what is negative"),
    eps_width=Fact("float64", f"{_MODULE}: a Python float"),
    zero_root=Fact("infinite", f"{_SOURCE}: no special case"),
    affine_in=Fact("same layer", _MODULE),
    gamma_options=Fact((Option("affine", default=True),), _MODULE),
    beta_options=Fact((Option("affine", default=True),), _MODULE),
    gamma_rule=Fact("abs(stored) + eps", f"{_SOURCE}; {_GOLDEN}; {_RAN}"),
    fixed_gamma=Fact(Option(None, default=False), f"{_MODULE}: none"),
    axis=Fact(Choice(None, 1), _MODULE),
    in_place=Fact(Option(None, default=False), f"{_MODULE}: always there, never here"),
    learning_rates=Fact(Option(None, (0.0,)), f"{_MODULE}: buffers"),
    silent_options=Fact((), _MODULE),
    requests=Fact(Requests("add", "add", "add"), "autograd accumulates; once_differentiable"),
    extra_outputs=Fact("none", _MODULE),
    arrays=Fact(
        (
            Array("weight", "gamma"),
            Array("bias", "beta"),
            Array("running_mean", "mean"),
            Array("running_var", "var"),
            Array("num_batches_tracked", "count", dtype="int64", shape=(), optional=True),
        ),
        f"{_MODULE}, ABN; {_RAN}",
    ),
)
