"""Equinox's BatchNorm with mode="batch"."""

from __future__ import annotations

from typing import Final

from backnorm.dialects.columns import Array, Choice, Fact, Option, Requests, Row

__all__ = ["EQUINOX_BATCH"]

_MODULE = "equinox/nn/_batch_norm.py"
_GOLDEN = "tests/dialects/goldens/equinox-batch.json"
_LIVE = "tests/with_frameworks/test_equinox.py"

EQUINOX_BATCH: Final = Row(
    name="equinox-batch",
    title='Equinox, BatchNorm(mode="batch")',
    source="Equinox at 9336d820: equinox/nn; Equinox 0.13.8 ran on the CPU",
    traps=(
        (
            "The hidden variance starts at 1 and is freed of a start at 0: in eval the variance"
            " is too large by keep^t/(1 - keep^t), 99 after one step at 0.99, 0.01 after 459."
        ),
        (
            "It works on one sample inside vmap, with the channels first. Here x is the whole "
            "batch, so that the channels are axis 1."
        ),
    ),
    momentum=Fact(Option("momentum", 0.99), f"{_MODULE}; {_GOLDEN}; {_LIVE}"),
    momentum_weighs=Fact("old", f"{_MODULE}; {_GOLDEN}; {_LIVE}"),
    momentum_none=Fact("refused", _MODULE),
    momentum_width=Fact("float64", f"{_MODULE}: a Python float"),
    storage=Fact("hidden averages and their count", f"{_MODULE}; {_GOLDEN}; {_LIVE}"),
    running_var=Fact("biased", f"{_MODULE}; {_GOLDEN}; {_LIVE}"),
    variance_from=Fact("deviations", _MODULE),
    initial=Fact((0.0, 1.0), f"{_MODULE}; {_GOLDEN}; {_LIVE}"),
    copied_updates=Fact(0, f"{_MODULE}; {_GOLDEN}; {_LIVE}"),
    updates_in=Fact("forward", f"{_MODULE}: the state returned; {_GOLDEN}"),
    statistics=Fact(
        Choice("inference", default=False, meaning={False: "mode", True: "frozen"}), _MODULE
    ),
    normalizes_with=Fact("batch", f"{_MODULE}; {_GOLDEN}; {_LIVE}"),
    one_value=Fact("zero variance", f"{_MODULE}: no special case"),
    frozen_gradient=Fact("constants", f"{_MODULE}: automatic; {_LIVE}"),
    eps=Fact(Option("eps", 1e-5), f"{_MODULE}; {_LIVE}"),
    eps_floor=Fact(0.0, f"{_MODULE}: none"),
    eps_below_floor=Fact("refused", f"{_MODULE}: a root of what is negative"),
    eps_width=Fact("float64", f"{_MODULE}: a Python float"),
    zero_root=Fact("infinite", f"{_MODULE}: no special case"),
    affine_in=Fact("same layer", _MODULE),
    gamma_options=Fact((Option("channelwise_affine", default=True),), _MODULE),
    beta_options=Fact((Option("channelwise_affine", default=True),), _MODULE),
    gamma_rule=Fact("stored", _MODULE),
    fixed_gamma=Fact(Option(None, default=False), f"{_MODULE}: none"),
    axis=Fact(Choice(None, 1), f"{_MODULE}: axis 0 of a sample"),
    in_place=Fact(Option(None, default=False), f"{_MODULE}: none"),
    learning_rates=Fact(Option(None, (0.0,)), f"{_MODULE}: state, not parameters"),
    silent_options=Fact((), _MODULE),
    requests=Fact(Requests("write", "write", "write"), "automatic differentiation"),
    extra_outputs=Fact("none", _MODULE),
    arrays=Fact(
        (
            Array("weight", "gamma"),
            Array("bias", "beta"),
            Array("hidden_mean", "mean"),
            Array("hidden_var", "var"),
            Array("counter", "count", dtype="int32", shape=()),
        ),
        f"{_MODULE}: batch_state_index and batch_counter",
    ),
)
