"""The BatchNorm of Flax, linen and nnx."""

from __future__ import annotations

from typing import Final

from backnorm.dialects.columns import Array, Choice, Fact, Option, Requests, Row

__all__ = ["FLAX"]

_LINEN = "flax/linen/normalization.py"
_LIVE = "tests/with_frameworks/test_flax.py"

FLAX: Final = Row(
    name="flax",
    title="Flax, linen.BatchNorm and nnx.BatchNorm",
    source="Flax at 18f8f311: flax/linen, flax/nnx; Flax 0.12.8 ran on the CPU",
    traps=(
        "The channels are last; momentum 0.99 is the weight of the old.",
        "The running variance is biased.",
        (
            "The batch variance is max(0, E[x^2] - E[x]^2) by default: with a mean far from 0 "
            "it loses precision, and where it is cut to 0 its gradient is 0. "
            "use_fast_variance=False avoids that; here it is computed without cancellation "
            "either way."
        ),
        "linen does not update during init, and wants mutable=['batch_stats'] to update at all.",
        "nnx casts the running statistics to dtype in eval; linen does not.",
        "gamma is called scale, and lives in params; mean and var live in batch_stats.",
    ),
    momentum=Fact(Option("momentum", 0.99), f"{_LINEN}; {_LIVE}"),
    momentum_weighs=Fact("old", f"{_LINEN}, BatchNorm.__call__; {_LIVE}"),
    momentum_none=Fact("refused", _LINEN),
    momentum_width=Fact("float64", f"{_LINEN}: a Python float"),
    storage=Fact("averages", f"{_LINEN}, BatchNorm.__call__; {_LIVE}"),
    running_var=Fact("biased", f"{_LINEN}, _compute_stats; {_LIVE}"),
    variance_from=Fact("deviations", f"{_LINEN}, _compute_stats; {_LIVE}"),
    initial=Fact((0.0, 1.0), f"{_LINEN}, BatchNorm.__call__; {_LIVE}"),
    copied_updates=Fact(0, f"{_LINEN}, BatchNorm.__call__; {_LIVE}"),
    updates_in=Fact("forward", f"{_LINEN}: the mutable collection; {_LIVE}"),
    statistics=Fact(
        Choice("use_running_average", None, {None: "mode", False: "batch", True: "frozen"}),
        f"{_LINEN}, BatchNorm.__call__; {_LIVE}",
    ),
    normalizes_with=Fact("batch", f"{_LINEN}, BatchNorm.__call__; {_LIVE}"),
    one_value=Fact("zero variance", f"{_LINEN}, _compute_stats: no special case"),
    frozen_gradient=Fact("constants", f"{_LINEN}: automatic; {_LIVE}"),
    eps=Fact(Option("epsilon", 1e-5), f"{_LINEN}; {_LIVE}"),
    eps_floor=Fact(0.0, f"{_LINEN}: none"),
    eps_below_floor=Fact("refused", f"{_LINEN}: a root of what is negative"),
    eps_width=Fact("float64", f"{_LINEN}: a Python float"),
    zero_root=Fact("infinite", f"{_LINEN}, BatchNorm.__call__: no special case"),
    affine_in=Fact("same layer", _LINEN),
    gamma_options=Fact((Option("use_scale", default=True),), f"{_LINEN}; {_LIVE}"),
    beta_options=Fact((Option("use_bias", default=True),), f"{_LINEN}; {_LIVE}"),
    gamma_rule=Fact("stored", f"{_LINEN}, _normalize; {_LIVE}"),
    fixed_gamma=Fact(Option(None, default=False), f"{_LINEN}: none"),
    axis=Fact(Choice("axis", -1), f"{_LINEN}; {_LIVE}"),
    in_place=Fact(Option(None, default=False), f"{_LINEN}: none"),
    learning_rates=Fact(Option(None, (0.0,)), f"{_LINEN}: no parameters"),
    silent_options=Fact((Option("use_fast_variance", default=True),), f"{_LINEN}, _compute_stats"),
    requests=Fact(Requests("write", "write", "write"), "automatic differentiation"),
    extra_outputs=Fact("none", _LINEN),
    arrays=Fact(
        (
            Array("scale", "gamma"),
            Array("bias", "beta"),
            Array("mean", "mean"),
            Array("var", "var"),
        ),
        f"{_LINEN}, BatchNorm.__call__; {_LIVE}",
    ),
)
