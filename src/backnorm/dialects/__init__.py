"""What each framework means by batch normalization: a table, and the layer that it describes."""

from __future__ import annotations

from backnorm.dialects.columns import UNKNOWN, Fact, Row
from backnorm.dialects.layer import BatchNorm
from backnorm.dialects.registry import DIALECTS, row_of

__all__ = ["DIALECTS", "UNKNOWN", "BatchNorm", "Fact", "Row", "row_of"]
