"""The engine under JAX's transformations.

`functional` checks a call and takes its statistics. `primitives` has three primitives and their
derivatives, `batching` their rules for vmap, `lowering` says who computes them: the C++ kernels on
the CPU, and the formulas of `formula` elsewhere.
"""

from __future__ import annotations

__all__: list[str] = []
