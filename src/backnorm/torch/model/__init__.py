"""The audit of a whole model: each normalization layer, with the x and dy that it receives there.

`target` builds the model and draws its inputs (`inputs`). `layers` says which modules are layers.
`passes` runs the model with the dy of `noise`, and `calls` records what each layer receives and
returns. `audit` measures the calls, and `records` makes the records. `state` restores the model and
its layers.

`fit` measures a call: for each kind and order of axes of `readings` the lines from x to y, through
one of the `activations`, and with `shares` the paths in dx. `reruns` makes a call again; `again`
does so where its gradient does not show every path. `values` tells modules without a known name.
`judge` makes the findings.
"""

from __future__ import annotations

__all__: list[str] = []
