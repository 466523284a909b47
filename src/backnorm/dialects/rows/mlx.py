"""MLX's BatchNorm."""

from __future__ import annotations

from typing import Final

from backnorm.dialects.columns import Array, Choice, Fact, Option, Requests, Row

__all__ = ["MLX"]

_LAYER = "python/mlx/nn/layers/normalization.py, BatchNorm"
_GOLDEN = "tests/dialects/goldens/mlx.json"
_LIVE = "tests/with_frameworks/test_dialects.py"

MLX: Final = Row(
    name="mlx",
    title="MLX 0.32.1 and later, nn.BatchNorm",
    source="mlx at 846d1762: python/mlx/nn; MLX 0.32.4 ran on the CPU",
    traps=(
        "The channels are last; momentum is the weight of the new.",
        "The running variance is unbiased since 0.32.1 and was biased before.",
        "One value per channel is refused since 0.32.1.",
        "track_running_stats=False has no buffers and normalizes by the batch in eval too.",
    ),
    momentum=Fact(Option("momentum", 0.1), f"{_LAYER}; {_GOLDEN}; {_LIVE}"),
    momentum_weighs=Fact("new", f"{_LAYER}; {_GOLDEN}; {_LIVE}"),
    momentum_none=Fact("refused", _LAYER),
    momentum_width=Fact("float64", f"{_LAYER}: a Python float"),
    storage=Fact("averages", f"{_LAYER}; {_GOLDEN}; {_LIVE}"),
    running_var=Fact("unbiased", f"{_LAYER}: ddof=1, pull request 3817 there; {_GOLDEN}; {_LIVE}"),
    variance_from=Fact("deviations", f"{_LAYER}; {_LIVE}"),
    initial=Fact((0.0, 1.0), f"{_LAYER}; {_GOLDEN}"),
    copied_updates=Fact(0, f"{_LAYER}; {_GOLDEN}; {_LIVE}"),
    updates_in=Fact("forward", f"{_LAYER}; {_GOLDEN}; {_LIVE}"),
    statistics=Fact(
        Choice("track_running_stats", default=True, meaning={True: "mode", False: "untracked"}),
        _LAYER,
    ),
    normalizes_with=Fact("batch", f"{_LAYER}; {_LIVE}"),
    one_value=Fact("refused", f"{_LAYER}: ValueError; {_LIVE}"),
    frozen_gradient=Fact("constants", f"{_LAYER}: automatic"),
    eps=Fact(Option("eps", 1e-5), f"{_LAYER}; {_GOLDEN}; {_LIVE}"),
    eps_floor=Fact(0.0, f"{_LAYER}: above 0"),
    eps_below_floor=Fact("refused", _LAYER),
    eps_width=Fact("float64", f"{_LAYER}: a Python float"),
    zero_root=Fact("infinite", f"{_LAYER}: no special case"),
    affine_in=Fact("same layer", _LAYER),
    gamma_options=Fact((Option("affine", default=True),), _LAYER),
    beta_options=Fact((Option("affine", default=True),), _LAYER),
    gamma_rule=Fact("stored", _LAYER),
    fixed_gamma=Fact(Option(None, default=False), f"{_LAYER}: none"),
    axis=Fact(Choice(None, -1), _LAYER),
    in_place=Fact(Option(None, default=False), f"{_LAYER}: none"),
    learning_rates=Fact(Option(None, (0.0,)), f"{_LAYER}: frozen"),
    silent_options=Fact((), _LAYER),
    requests=Fact(Requests("write", "write", "write"), "automatic differentiation"),
    extra_outputs=Fact("none", _LAYER),
    arrays=Fact(
        (
            Array("weight", "gamma"),
            Array("bias", "beta"),
            Array("running_mean", "mean"),
            Array("running_var", "var"),
        ),
        _LAYER,
    ),
)
