"""Equinox's BatchNorm with mode="ema"."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from backnorm.dialects.columns import UNKNOWN, Array, Fact
from backnorm.dialects.rows.equinox_batch import EQUINOX_BATCH

__all__ = ["EQUINOX_EMA"]

_MODULE = "equinox/nn/_batch_norm.py"
_GOLDEN = "tests/dialects/goldens/equinox-ema.json"
_LIVE = "tests/with_frameworks/test_equinox.py"

EQUINOX_EMA: Final = replace(
    EQUINOX_BATCH,
    name="equinox-ema",
    title='Equinox, BatchNorm(mode="ema")',
    traps=(
        (
            "Training normalizes by the running statistics with this batch blended in, so that "
            "only the share 1 - momentum of the gradient goes through the batch's statistics."
        ),
        "It is the default when mode is not given, with a warning.",
        (
            "The first call takes the batch's statistics whole; before it eval reads memory that "
            "was never written."
        ),
        (
            "It works on one sample inside vmap, with the channels first. Here x is the whole "
            "batch, so that the channels are axis 1."
        ),
    ),
    storage=Fact("averages", f"{_MODULE}; {_GOLDEN}; {_LIVE}"),
    initial=Fact(UNKNOWN, f"{_MODULE}: jnp.empty"),
    copied_updates=Fact(1, f"{_MODULE}: ema_first_time_index; {_GOLDEN}"),
    normalizes_with=Fact("blend", f"{_MODULE}; {_GOLDEN}; {_LIVE}"),
    arrays=Fact(
        (
            Array("weight", "gamma"),
            Array("bias", "beta"),
            Array("running_mean", "mean"),
            Array("running_var", "var"),
            Array("first_time", "first", dtype="bool", shape=()),
        ),
        f"{_MODULE}: ema_state_index and ema_first_time_index",
    ),
)
