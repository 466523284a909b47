"""MXNet's BatchNorm operator on a GPU, through cuDNN."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from backnorm.dialects.columns import Fact, Requests
from backnorm.dialects.rows.mxnet import MXNET

__all__ = ["MXNET_CUDNN"]

_CUDNN = "cudnn/cudnn_batch_norm-inl.h"
_GOLDEN = "tests/dialects/goldens/mxnet-cudnn.json"

MXNET_CUDNN: Final = replace(
    MXNET,
    name="mxnet-cudnn",
    title="MXNet 1.9.1, cuDNN",
    source="apache/mxnet 1.9.1: src/operator/nn; read, not run: it needs a GPU",
    traps=(
        (
            "The running statistics change in forward and the running variance is unbiased: on "
            "the CPU the same network updates in backward, biased."
        ),
        (
            "backward in eval recomputes the statistics of the batch: it is not the derivative "
            "of the forward pass, which uses the running ones."
        ),
        (
            "gamma and beta share one flag for adding: with fix_gamma the gradient of beta "
            "could pile up (issues 16297 and 18475 there). Here write is write and add is add."
        ),
        "eps below 1e-5 is refused.",
        "With use_global_stats, or cudnn_off, the operator does not come here: see mxnet.",
    ),
    running_var=Fact("unbiased", f"issue 21111 there, of {_CUDNN}; {_GOLDEN}"),
    variance_from=Fact("deviations", f"{_CUDNN}: cuDNN's own"),
    updates_in=Fact("forward", f"{_CUDNN}, Forward: factor 1 - momentum"),
    one_value=Fact("nan", "as cuDNN; seen by TensorFlow, pull request 40338 there"),
    frozen_gradient=Fact("batch statistics", f"{_CUDNN}, Backward; issue 18209 there"),
    eps_floor=Fact(1e-5, f"{_CUDNN}: CUDNN_BN_MIN_EPSILON"),
    eps_below_floor=Fact("refused", f"{_CUDNN}: CHECK"),
    zero_root=Fact("infinite", f"{_CUDNN}: eps is never 0"),
    requests=Fact(
        Requests("write, add, null", "write, add (as beta)", "write, add (as gamma)"),
        f"{_CUDNN}, Backward: one blend factor for both",
    ),
)
