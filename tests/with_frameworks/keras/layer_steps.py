"""One step of a layer of Keras on the backend of this process: outputs, state and gradients."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

__all__ = ["BACKEND", "built", "step"]

BACKEND = keras.backend.backend()


def built(cls: Any, shape: tuple[int, ...], **options: Any) -> Any:
    """A layer with a drawn state."""
    layer = cls(momentum=0.7, **options)
    layer.build(shape)
    rng = np.random.default_rng(1)
    for variable in layer.weights:
        variable.assign(rng.uniform(0.5, 2, variable.shape))
    return layer


def step(layer: Any, x: Any, mask: Any = None, *, training: bool = True) -> list[Any]:
    """y, the gradients of a weighted sum of y for the parameters and x, and the new state."""
    weights = np.random.default_rng(2).normal(size=x.shape).astype("float32")
    options = {"training": training} if mask is None else {"training": training, "mask": mask}
    of_step = _by_jax if BACKEND == "jax" else _by_torch
    return [keras.ops.convert_to_numpy(v) for v in of_step(layer, x, weights, options)]


def _by_jax(layer: Any, x: Any, weights: Any, options: dict[str, Any]) -> list[Any]:
    import jax  # noqa: PLC0415 - on this backend only

    state = [v.value for v in layer.non_trainable_variables]

    def loss(parameters: Any, x: Any) -> Any:
        y, new = layer.stateless_call(parameters, state, x, **options)
        return (y.astype("float32") * weights).sum(), (y, new)

    parameters = [v.value for v in layer.trainable_variables]
    slope = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    gradients, (y, new) = slope(parameters, jax.numpy.asarray(x))
    return [y, *jax.tree.leaves(gradients), *new]


def _by_torch(layer: Any, x: Any, weights: Any, options: dict[str, Any]) -> list[Any]:
    import torch  # noqa: PLC0415 - on this backend only

    leaf = torch.tensor(x, requires_grad=True)
    y = layer(leaf, **options)
    parameters = [v.value for v in layer.trainable_variables]
    total = (y.float() * torch.tensor(weights)).sum()
    gradients = torch.autograd.grad(total, [*parameters, leaf])
    return [y.detach(), *gradients, *(v.value.detach() for v in layer.non_trainable_variables)]
