"""cuDNN's batch normalization, as callers see it."""

from __future__ import annotations

from typing import Final

from backnorm.dialects.columns import REQUIRED, Array, Choice, Fact, Option, Requests, Row

__all__ = ["CUDNN"]

_HEADER = "cudnn.h, version 7"
_GOLDEN = "tests/dialects/goldens/cudnn.json"

CUDNN: Final = Row(
    name="cudnn",
    title="cuDNN, spatial mode",
    source=(
        "cudnn.h of version 7, and what callers and their issues say; "
        "not run: it needs a GPU, and its source is closed"
    ),
    traps=(
        "Factor and epsilon are arguments of each call and have no default.",
        (
            "The factor is the weight of the new, and must be 1 in the first call: here the "
            "first update copies."
        ),
        "The running variance is unbiased; with one value per channel it is NaN.",
        "epsilon below CUDNN_BN_MIN_EPSILON is refused: 1e-5 in version 7, 0 in later ones.",
        "What is saved for the backward pass is 1/std, not the variance.",
        "One blend factor serves the gradients of scale and bias together.",
    ),
    momentum=Fact(Option("exponentialAverageFactor", REQUIRED), f"{_HEADER}; {_GOLDEN}"),
    momentum_weighs=Fact("new", f"{_HEADER}; {_GOLDEN}"),
    momentum_none=Fact("refused", _HEADER),
    momentum_width=Fact("float64", f"{_HEADER}: a double"),
    storage=Fact("averages", f"{_HEADER}; {_GOLDEN}"),
    running_var=Fact("unbiased", f"MXNet's issues 21111 and 14357; {_GOLDEN}"),
    variance_from=Fact("deviations", "what callers see"),
    initial=Fact((0.0, 1.0), "its callers' choice, which the first update replaces"),
    copied_updates=Fact(1, f"{_HEADER}: factor 1 in the first call; {_GOLDEN}"),
    updates_in=Fact("forward", f"{_HEADER}, cudnnBatchNormalizationForwardTraining"),
    statistics=Fact(Choice(None, None, {None: "mode"}), f"{_HEADER}: two functions"),
    normalizes_with=Fact("batch", _HEADER),
    one_value=Fact("nan", "TensorFlow's pull request 40338"),
    frozen_gradient=Fact("batch statistics", f"{_HEADER}: recomputed when none are passed"),
    eps=Fact(Option("epsilon", REQUIRED), _HEADER),
    eps_floor=Fact(1e-5, f"{_HEADER}, CUDNN_BN_MIN_EPSILON"),
    eps_below_floor=Fact("refused", _HEADER),
    eps_width=Fact("float64", f"{_HEADER}: a double"),
    zero_root=Fact("infinite", f"{_HEADER}: no special case"),
    affine_in=Fact("same layer", _HEADER),
    gamma_options=Fact((), f"{_HEADER}: always"),
    beta_options=Fact((), f"{_HEADER}: always"),
    gamma_rule=Fact("stored", _HEADER),
    fixed_gamma=Fact(Option(None, default=False), f"{_HEADER}: none"),
    axis=Fact(Choice(None, 1), f"{_HEADER}: the tensor's descriptor"),
    in_place=Fact(Option(None, default=False), f"{_HEADER}: none"),
    learning_rates=Fact(Option(None, (0.0,)), f"{_HEADER}: arguments"),
    silent_options=Fact((), _HEADER),
    requests=Fact(Requests("write, add", "write, add", "write, add (as gamma)"), _HEADER),
    extra_outputs=Fact("mean and inv_std", f"{_HEADER}: resultSaveMean, resultSaveInvVariance"),
    arrays=Fact(
        (
            Array("bnScale", "gamma"),
            Array("bnBias", "beta"),
            Array("resultRunningMean", "mean"),
            Array("resultRunningVariance", "var"),
        ),
        _HEADER,
    ),
)
