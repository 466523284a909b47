"""Running statistics beside training: of a whole data set, and over micro-batches.

`layers` chooses the layers and keeps their state, `pooled` adds up statistics exactly, `ranks`
adds those of several processes, `passes` runs the model, `update` and `accumulate` are the public
functions.
"""

from __future__ import annotations

from backnorm.torch.recalibration.accumulate import accumulate
from backnorm.torch.recalibration.update import update_bn

__all__ = ["accumulate", "update_bn"]
