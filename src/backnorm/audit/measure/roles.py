"""Which of the names that a layer gives its state stand for what."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STATE_ROLES", "STATISTICS", "state_role"]

STATISTICS: Final[Mapping[str, str]] = {
    "running_mean": r"(running|moving|global|pop|population|ema)_?(mean|mu|avg)|rm",
    "running_var": r"(running|moving|global|pop|population|ema)_?(var|variance|std|sigma2?)|rv",
}
"""Running statistics, as whole words."""

COLLECTION: Final = "batch_stats."
"""Where Flax keeps running statistics, which it calls mean and var there."""

STATE_ROLES: Final[Mapping[str, str]] = {
    **STATISTICS,
    "count": r"num_batches_tracked|n(um)?_?(batches|updates|steps|calls)|count(er)?|steps?",
    "momentum": r"momentum|decay(_rate)?|keep|moving_average_fraction|exponential_avg_factor",
}
"""The same with what counts updates, and with what weighs old statistics against new ones."""


def state_role(name: str) -> str:
    """Return the role of a name, and "" where it has none.

    Examples
    --------
    >>> state_role("bn.moving_var"), state_role("num_batches_tracked"), state_role("x_hat")
    ('running_var', 'count', '')
    >>> state_role("batch_stats.mean")
    'running_mean'
    """
    last = name.rpartition(".")[2].strip("_")
    if name.startswith(COLLECTION):
        last = f"running_{last}"
    return next((role for role, names in STATE_ROLES.items() if re.fullmatch(names, last)), "")
