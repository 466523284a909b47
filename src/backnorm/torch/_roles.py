"""Which parameter, buffer or argument plays which role, told by its name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from backnorm.audit.measure.roles import STATISTICS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["role_of"]

ROLES: Final[Mapping[str, str]] = {
    "gamma": r"weight|gamma|scale|g|w|gain|alpha",
    "beta": r"bias|beta|shift|offset|b",
    **STATISTICS,
    "training": r"(is_)?(training|train)|use_(input|batch)_stats|train_mode",
    "groups": r"n(um)?_?groups|groups",
    "channels": r"(n(um)?_?|in_?)?(features|channels|planes|dims?)|d_model|hidden(_size)?|width"
    r"|normalized_shape|size|c",
    "x": r"x|input|inputs|X|tensor|data",
}
"""Names seen in layers that people write, as whole words."""


def role_of(name: str) -> str:
    """Return the role of a name, and "" where it has none.

    Examples
    --------
    >>> role_of("moving_mean"), role_of("bias"), role_of("eps")
    ('running_mean', 'beta', '')
    """
    last = name.rpartition(".")[2].strip("_")
    return next((role for role, names in ROLES.items() if re.fullmatch(names, last)), "")
