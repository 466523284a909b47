"""tinygrad's BatchNorm."""

from __future__ import annotations

from typing import Final

from backnorm.dialects.columns import Array, Choice, Fact, Option, Requests, Row

__all__ = ["TINYGRAD"]

_NN = "tinygrad/nn/__init__.py, BatchNorm"
_GOLDEN = "tests/dialects/goldens/tinygrad.json"
_LIVE = "tests/with_frameworks/test_dialects.py"

TINYGRAD: Final = Row(
    name="tinygrad",
    title="tinygrad, nn.BatchNorm",
    source="tinygrad at a9069c17: tinygrad/nn; tinygrad 0.14.0 ran on the CPU",
    traps=(
        "momentum is the weight of the new; the running variance is unbiased.",
        "One value per channel divides by zero in Python: it is refused.",
        "Training is a global switch, Tensor.training, and not a mode of the layer.",
        "track_running_stats=False has no buffers and normalizes by the batch in eval too.",
    ),
    momentum=Fact(Option("momentum", 0.1), f"{_NN}; {_GOLDEN}; {_LIVE}"),
    momentum_weighs=Fact("new", f"{_NN}; {_GOLDEN}; {_LIVE}"),
    momentum_none=Fact("refused", _NN),
    momentum_width=Fact("float64", f"{_NN}: a Python float"),
    storage=Fact("averages", f"{_NN}; {_GOLDEN}; {_LIVE}"),
    running_var=Fact("unbiased", f"{_NN}: numel/(numel - C); {_GOLDEN}; {_LIVE}"),
    variance_from=Fact("deviations", f"{_NN}; {_LIVE}"),
    initial=Fact((0.0, 1.0), f"{_NN}; {_GOLDEN}"),
    copied_updates=Fact(0, f"{_NN}; {_GOLDEN}; {_LIVE}"),
    updates_in=Fact("forward", f"{_NN}; {_GOLDEN}; {_LIVE}"),
    statistics=Fact(
        Choice("track_running_stats", default=True, meaning={True: "mode", False: "untracked"}),
        _NN,
    ),
    normalizes_with=Fact("batch", f"{_NN}; {_LIVE}"),
    one_value=Fact("refused", f"{_NN}: ZeroDivisionError; {_LIVE}"),
    frozen_gradient=Fact("constants", f"{_NN}: automatic"),
    eps=Fact(Option("eps", 1e-5), f"{_NN}; {_GOLDEN}; {_LIVE}"),
    eps_floor=Fact(0.0, f"{_NN}: none"),
    eps_below_floor=Fact("refused", f"{_NN}: a root of what is negative"),
    eps_width=Fact("float64", f"{_NN}: a Python float"),
    zero_root=Fact("infinite", f"{_NN}: no special case"),
    affine_in=Fact("same layer", _NN),
    gamma_options=Fact((Option("affine", default=True),), _NN),
    beta_options=Fact((Option("affine", default=True),), _NN),
    gamma_rule=Fact("stored", _NN),
    fixed_gamma=Fact(Option(None, default=False), f"{_NN}: none"),
    axis=Fact(Choice(None, 1), _NN),
    in_place=Fact(Option(None, default=False), f"{_NN}: none"),
    learning_rates=Fact(Option(None, (0.0,)), f"{_NN}: requires_grad=False"),
    silent_options=Fact((), _NN),
    requests=Fact(Requests("add, null", "add, null", "add, null"), "requires_grad"),
    extra_outputs=Fact("none", _NN),
    arrays=Fact(
        (
            Array("weight", "gamma"),
            Array("bias", "beta"),
            Array("running_mean", "mean"),
            Array("running_var", "var"),
            Array("num_batches_tracked", "count", dtype="int64", shape=(), optional=True),
        ),
        _NN,
    ),
)
