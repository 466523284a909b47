"""Keras 3's BatchNormalization layer."""

from __future__ import annotations

from typing import Final

from backnorm.dialects.columns import Array, Choice, Fact, Option, Requests, Row

__all__ = ["KERAS"]

_LAYER = "layers/normalization/batch_normalization.py"
_LIVE = "tests/with_frameworks/test_keras.py"

KERAS: Final = Row(
    name="keras",
    title="Keras 3, BatchNormalization",
    source=(
        "Keras 3 at 3422977a: keras/src/layers, keras/src/backend; "
        "Keras 3.15.1 ran on the torch backend"
    ),
    traps=(
        "The channels are last by default, eps is 1e-3, momentum 0.99 is the weight of the old.",
        (
            "The moving variance is biased on every backend. The layer of tf-keras is unbiased "
            "on images (its fused path) and biased on matrices."
        ),
        (
            "trainable=False means the running statistics, also with training=True. Keras 1 and"
            " 2 normalized by the batch all the same."
        ),
        (
            "The torch and NumPy backends compute E[x^2] - E[x]^2 in float32: with a mean far "
            "from 0 they give other variances than the TensorFlow and JAX backends, even "
            "negative ones."
        ),
        "A float64 layer computes in float32: it casts x first. The layer here does not.",
        "With a mask Keras adds 1e-7 to the count of values.",
    ),
    momentum=Fact(Option("momentum", 0.99), f"{_LAYER}; {_LIVE}"),
    momentum_weighs=Fact("old", f"{_LAYER}, call; {_LIVE}"),
    momentum_none=Fact("refused", _LAYER),
    momentum_width=Fact("float64", f"{_LAYER}: a Python float"),
    storage=Fact("averages", f"{_LAYER}, call; {_LIVE}"),
    running_var=Fact("biased", f"{_LAYER}, call; {_LIVE}"),
    variance_from=Fact("deviations", f"{_LAYER}, _moments; {_LIVE}"),
    initial=Fact((0.0, 1.0), f"{_LAYER}: zeros and ones; {_LIVE}"),
    copied_updates=Fact(0, f"{_LAYER}, call; {_LIVE}"),
    updates_in=Fact("forward", f"{_LAYER}, call; {_LIVE}"),
    statistics=Fact(
        Choice("trainable", default=True, meaning={True: "mode", False: "frozen"}),
        f"{_LAYER}, call: training and self.trainable; {_LIVE}",
    ),
    normalizes_with=Fact("batch", f"{_LAYER}, call; {_LIVE}"),
    one_value=Fact("zero variance", f"{_LAYER}, call: no special case"),
    frozen_gradient=Fact("constants", f"{_LAYER}: automatic; {_LIVE}"),
    eps=Fact(Option("epsilon", 1e-3), f"{_LAYER}; {_LIVE}"),
    eps_floor=Fact(0.0, f"{_LAYER}: none"),
    eps_below_floor=Fact("refused", f"{_LAYER}: a root of what is negative"),
    eps_width=Fact("float64", f"{_LAYER}: a Python float"),
    zero_root=Fact("infinite", f"{_LAYER}, call: no special case"),
    affine_in=Fact("same layer", _LAYER),
    gamma_options=Fact((Option("scale", default=True),), f"{_LAYER}; {_LIVE}"),
    beta_options=Fact((Option("center", default=True),), f"{_LAYER}; {_LIVE}"),
    gamma_rule=Fact("stored", f"{_LAYER}; {_LIVE}"),
    fixed_gamma=Fact(Option(None, default=False), f"{_LAYER}: none"),
    axis=Fact(Choice("axis", -1), f"{_LAYER}; {_LIVE}"),
    in_place=Fact(Option(None, default=False), f"{_LAYER}: none"),
    learning_rates=Fact(Option(None, (0.0,)), f"{_LAYER}: trainable=False"),
    silent_options=Fact((Option("synchronized", default=False),), f"{_LAYER}: one device here"),
    requests=Fact(Requests("write", "write", "write"), "automatic differentiation"),
    extra_outputs=Fact("none", _LAYER),
    arrays=Fact(
        (
            Array("gamma", "gamma"),
            Array("beta", "beta"),
            Array("moving_mean", "mean"),
            Array("moving_variance", "var"),
        ),
        f"{_LAYER}, build; {_LIVE}",
    ),
)
