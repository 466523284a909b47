"""The audit of a whole model: each normalization layer, with the x and dy that it receives there.

`target` builds the model and draws its inputs (`inputs`), `audit` runs it once and judges, `calls`
records what each layer receives and returns, `fit` measures that, `state` restores the model.
"""

from __future__ import annotations

__all__: list[str] = []
