"""The benchmark: times of the engine beside a copy of the same bytes and other frameworks."""

from __future__ import annotations

from backnorm.bench.run import BenchOptions, run

__all__ = ["BenchOptions", "run"]
