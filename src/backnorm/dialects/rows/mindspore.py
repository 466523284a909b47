"""MindSpore's BatchNorm cells on the CPU."""

from __future__ import annotations

from typing import Final

from backnorm.dialects.columns import Array, Choice, Fact, Option, Requests, Row

__all__ = ["MINDSPORE"]

_CELL = "nn/layer/normalization.py, _BatchNorm"
_GOLDEN = "tests/dialects/goldens/mindspore.json"
_LIVE = "tests/with_frameworks/test_dialects.py"

MINDSPORE: Final = Row(
    name="mindspore",
    title="MindSpore, nn.BatchNorm1d to BatchNorm3d on the CPU",
    source="MindSpore at 06967502: nn/layer, plugin CPU kernels; MindSpore 2.10.0 ran on the CPU",
    traps=(
        (
            "momentum of the cell is the weight of the old; the operator below is given 1 - "
            "momentum."
        ),
        "The running variance is unbiased, on the CPU too.",
        (
            "A layer alone calls its statistics mean and variance; a layer in a cell calls them "
            "moving_mean and moving_variance, as its attributes are."
        ),
        "BatchNorm3d keeps its arrays in a layer within, bn2d.",
        "One value per channel leaves NaN in moving_variance.",
        "affine=False keeps a gamma of ones that is not trained: it stays in the state.",
    ),
    momentum=Fact(Option("momentum", 0.9), f"{_CELL}; {_GOLDEN}; {_LIVE}"),
    momentum_weighs=Fact("old", f"{_CELL}; {_GOLDEN}; {_LIVE}"),
    momentum_none=Fact("refused", _CELL),
    momentum_width=Fact("float32", "the operator's attribute"),
    storage=Fact("averages", f"the CPU kernel; {_GOLDEN}; {_LIVE}"),
    running_var=Fact("unbiased", f"{_LIVE}; {_GOLDEN}"),
    variance_from=Fact("deviations", f"the CPU kernel, oneDNN; {_LIVE}"),
    initial=Fact((0.0, 1.0), f"{_CELL}: zeros and ones; {_GOLDEN}"),
    copied_updates=Fact(0, f"{_CELL}; {_GOLDEN}; {_LIVE}"),
    updates_in=Fact("forward", f"{_CELL}; {_GOLDEN}; {_LIVE}"),
    statistics=Fact(
        Choice("use_batch_statistics", None, {None: "mode", True: "batch", False: "frozen"}), _CELL
    ),
    normalizes_with=Fact("batch", f"the CPU kernel, oneDNN; {_LIVE}"),
    one_value=Fact("nan", _LIVE),
    frozen_gradient=Fact("constants", "BatchNormGrad with is_training=False"),
    eps=Fact(Option("eps", 1e-5), f"{_CELL}; {_GOLDEN}; {_LIVE}"),
    eps_floor=Fact(0.0, "the operator: in (0, 1]"),
    eps_below_floor=Fact("refused", "the operator: ValueError"),
    eps_width=Fact("float32", "the operator's attribute"),
    zero_root=Fact("infinite", "the CPU kernel, oneDNN: no special case"),
    affine_in=Fact("same layer", _CELL),
    gamma_options=Fact((), f"{_CELL}: always, trained or not"),
    beta_options=Fact((), f"{_CELL}: always, trained or not"),
    gamma_rule=Fact("stored", _CELL),
    fixed_gamma=Fact(Option(None, default=False), f"{_CELL}: none"),
    axis=Fact(Choice("data_format", "NCHW", {"NCHW": 1, "NHWC": -1, "NCDHW": 1}), _CELL),
    in_place=Fact(Option(None, default=False), f"{_CELL}: none"),
    learning_rates=Fact(Option(None, (0.0,)), f"{_CELL}: requires_grad=False"),
    silent_options=Fact((), _CELL),
    requests=Fact(Requests("write", "write", "write"), "automatic differentiation"),
    extra_outputs=Fact("none", _CELL),
    arrays=Fact(
        (
            Array("gamma", "gamma"),
            Array("beta", "beta"),
            Array("moving_mean", "mean"),
            Array("moving_variance", "var"),
        ),
        _CELL,
    ),
)
