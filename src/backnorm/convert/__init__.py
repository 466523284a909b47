"""Convert states from one dialect to another, by way of a state in no framework's terms."""

from __future__ import annotations

from backnorm.convert.canonical import Canonical, from_canonical, to_canonical
from backnorm.convert.conversion import Conversion, convert_state
from backnorm.convert.losses import KINDS, Loss, losses_between

__all__ = [
    "KINDS",
    "Canonical",
    "Conversion",
    "Loss",
    "convert_state",
    "from_canonical",
    "losses_between",
    "to_canonical",
]
