"""What a model file holds of normalization, and what is wrong with it."""

from __future__ import annotations

from backnorm.convert.files.inspection.entries import ENTRIES
from backnorm.convert.files.inspection.inspect import inspect_model
from backnorm.convert.files.inspection.record import FileFinding, Inspection, LayerSummary

__all__ = ["ENTRIES", "FileFinding", "Inspection", "LayerSummary", "inspect_model"]
