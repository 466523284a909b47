"""The benchmark: the engine beside a copy of the same bytes and beside each framework."""

from __future__ import annotations

from backnorm.bench.run import BenchOptions, run

__all__ = ["BenchOptions", "run"]
