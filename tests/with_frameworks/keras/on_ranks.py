"""What each of two processes computes of a spread batch; on_a_backend.py calls it."""

from __future__ import annotations

from typing import Any

__all__ = ["run"]


def run(rank: int) -> list[Any]:
    """One step of the half of a rank: y, gradients and state."""
    import numpy as np  # noqa: PLC0415 - as below
    import torch  # noqa: PLC0415 - not in the process that collects

    from backnorm.keras import BatchNormalization  # noqa: PLC0415 - the same
    from with_frameworks.keras.layer_steps import built  # noqa: PLC0415 - the same

    x = np.random.default_rng(0).normal(2.0, 3, (6, 5, 3)).astype("float32")
    mask = np.random.default_rng(3).random((6, 5)) < 0.6
    mask[:3] &= np.arange(5) < 1
    weights = np.random.default_rng(2).normal(size=x.shape).astype("float32")
    own = slice(3 * rank, 3 * rank + 3)
    layer = built(BatchNormalization, x.shape, synchronized=True)
    leaf = torch.tensor(x[own], requires_grad=True)
    y = layer(leaf, training=True, mask=torch.tensor(mask[own]))
    total = (y * torch.tensor(weights[own])).sum()
    total.backward()
    gradients = [layer.gamma.value.grad, layer.beta.value.grad, leaf.grad]
    state = [v.value.detach() for v in layer.non_trainable_variables]
    return [value.numpy() for value in (y.detach(), *gradients, *state)]
