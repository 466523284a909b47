"""Chainer's BatchNormalization link."""

from __future__ import annotations

from typing import Final

from backnorm.dialects.columns import Array, Choice, Fact, Option, Requests, Row

__all__ = ["CHAINER"]

_LINK = "chainer/links/normalization/batch_normalization.py"
_FUNCTION = "chainer/functions/normalization/batch_normalization.py"
_GOLDEN = "tests/dialects/goldens/chainer.json"
_LIVE = "tests/with_frameworks/test_dialects.py"

CHAINER: Final = Row(
    name="chainer",
    title="Chainer 7, links.BatchNormalization",
    source="chainer at a8e15cbe: chainer/links, chainer/functions; Chainer 7.8.1 ran on the CPU",
    traps=(
        "eps is 2e-5.",
        "decay is the weight of the old; the running variance is unbiased.",
        (
            "fixed_batch_normalization differentiates mean and variance too; the link holds "
            "them constant, and so does the layer here."
        ),
        "A batch of one value per channel warns there, and gives y = beta.",
        "avg_var started at 0 before version 5.",
        "axis names the axes that are reduced; here all but axis 1 are.",
        "N counts the calls with finetune=True, which average plainly; it is carried along.",
    ),
    momentum=Fact(Option("decay", 0.9), f"{_LINK}; {_GOLDEN}; {_LIVE}"),
    momentum_weighs=Fact("old", f"{_FUNCTION}, forward; {_GOLDEN}; {_LIVE}"),
    momentum_none=Fact("refused", _LINK),
    momentum_width=Fact("float64", f"{_FUNCTION}: a Python float"),
    storage=Fact("averages", f"{_FUNCTION}, forward; {_GOLDEN}; {_LIVE}"),
    running_var=Fact("unbiased", f"{_FUNCTION}, forward: adjust; {_GOLDEN}; {_LIVE}"),
    variance_from=Fact("deviations", f"{_FUNCTION}; {_LIVE}"),
    initial=Fact((0.0, 1.0), f"{_LINK}, __init__; {_GOLDEN}"),
    copied_updates=Fact(0, f"{_FUNCTION}, forward; {_GOLDEN}; {_LIVE}"),
    updates_in=Fact("forward", f"{_FUNCTION}, forward; {_GOLDEN}; {_LIVE}"),
    statistics=Fact(Choice(None, None, {None: "mode"}), f"{_LINK}: configuration.config.train"),
    normalizes_with=Fact("batch", f"{_FUNCTION}, forward; {_LIVE}"),
    one_value=Fact("zero variance", f"{_FUNCTION}, forward: a warning, max(m - 1, 1); {_LIVE}"),
    frozen_gradient=Fact("constants", f"{_LINK}: mean and variance are arrays"),
    eps=Fact(Option("eps", 2e-5), f"{_LINK}; {_GOLDEN}; {_LIVE}"),
    eps_floor=Fact(0.0, f"{_FUNCTION}: none but through cuDNN"),
    eps_below_floor=Fact("refused", f"{_FUNCTION}: a root of what is negative"),
    eps_width=Fact("float64", f"{_FUNCTION}: a Python float"),
    zero_root=Fact("infinite", f"{_FUNCTION}, forward: no special case"),
    affine_in=Fact("same layer", _LINK),
    gamma_options=Fact((Option("use_gamma", default=True),), _LINK),
    beta_options=Fact((Option("use_beta", default=True),), _LINK),
    gamma_rule=Fact("stored", _FUNCTION),
    fixed_gamma=Fact(Option(None, default=False), f"{_LINK}: none"),
    axis=Fact(Choice(None, 1), f"{_LINK}: all axes but 1 are reduced"),
    in_place=Fact(Option(None, default=False), f"{_FUNCTION}: none"),
    learning_rates=Fact(Option(None, (0.0,)), f"{_LINK}: persistents"),
    silent_options=Fact((), _LINK),
    requests=Fact(Requests("add, null", "add, null", "add, null"), "requires_grad"),
    extra_outputs=Fact("none", _LINK),
    arrays=Fact(
        (
            Array("gamma", "gamma"),
            Array("beta", "beta"),
            Array("avg_mean", "mean"),
            Array("avg_var", "var"),
            Array("N", "finetuned", dtype="int64", shape=(), optional=True),
        ),
        f"{_LINK}, __init__",
    ),
)
