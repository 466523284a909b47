"""The batch normalizations of Flax, Haiku and Equinox, computed by the engine.

Each file has a class `BatchNorm` that stands in for one of a framework's: `linen` and `nnx` for
Flax, `haiku`, `equinox`. It is a subclass of the original with its arguments, its parameters and
its state, so that checkpoints fit both ways. A file imports its framework, and nothing here imports
the files.
"""

from __future__ import annotations

__all__: list[str] = []
