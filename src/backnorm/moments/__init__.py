"""Exact mean and variance of data that come in parts, in any order, on any number of machines."""

from __future__ import annotations

from backnorm.moments.moments import Moments

__all__ = ["Moments"]
