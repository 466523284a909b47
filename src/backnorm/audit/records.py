"""The records of several subjects: a tuple that shows itself as one table."""

from __future__ import annotations

from backnorm._display import Displayed
from backnorm.audit.record import Record

__all__ = ["Records"]


class Records(Displayed, tuple[Record, ...]):
    """What the audit of a model returns: a record for each layer."""

    __slots__ = ()
