"""The audit of a whole model: each normalization layer, with the x and dy that it receives there.

`target` builds the model and draws its inputs (`inputs`), `audit` runs it with the dy of `noise`
and makes the records, `calls` records what each layer receives and returns, `state` restores the
model. `fit` measures a call: the lines from x to y, through one of the `activations`, and with
`shares` the paths in dx. `again` repeats a call whose gradient does not show every path. `judge`
makes the findings.
"""

from __future__ import annotations

__all__: list[str] = []
