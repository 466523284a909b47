"""BatchNormalization of Keras by the engine."""

from __future__ import annotations

from typing import Any, Final

import keras
from keras import ops

from backnorm import _check
from backnorm.errors import BacknormError, NotSupportedError

if keras.backend.backend() == "jax":
    from backnorm.jax import keras as engine
else:
    from backnorm.torch import keras as engine  # type: ignore[no-redef]

__all__ = ["BatchNormalization"]

BACKEND: Final = keras.backend.backend()


@keras.saving.register_keras_serializable(package="backnorm")
class BatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc] # Keras has no types
    """keras.layers.BatchNormalization, computed by the engine.

    Arguments, weights, configuration and running statistics are those of the class of Keras. In
    training y = gamma*(x - mean)/sqrt(var + epsilon) + beta with the mean and the biased variance
    of the batch, to which the running statistics move by 1 - momentum.

    Parameters
    ----------
    axis, momentum, epsilon
        As in Keras.
    synchronized
        Whether the statistics are those of the batches of all processes. On PyTorch of those of
        torch.distributed, once its default group is there; on JAX with axis_name.
    axis_name
        JAX only: the mapped axis of vmap, shard_map or pmap over which the batch is spread, as for
        `jax.lax.psum`.
    **options
        All other arguments of the class of Keras.

    Raises
    ------
    NotSupportedError
        synchronized on JAX without an axis_name; an axis_name on PyTorch.

    Notes
    -----
    Source: Keras 3.15.1, layers/normalization/batch_normalization.py; docs/keras.md.
    Accuracy: that of the engine, in float16 and bfloat16 too; float64 is computed in float64, where
    Keras computes in float32 (tests/with_frameworks/keras).
    Cost: as `backnorm.jax.batch_norm` and `backnorm.torch.batch_norm`. A mask takes a second pass
    for the positions that do not count. Batch renormalization, a mask with channels that are not
    last, and on PyTorch a single value for each channel are computed by Keras.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from backnorm.keras import BatchNormalization
    >>> layer = BatchNormalization(epsilon=0.25, momentum=0.5)
    >>> y = layer(np.array([[1.0], [3.0]], "float32"), training=True)
    >>> keras.ops.convert_to_numpy(y).round(4).ravel().tolist()
    [-0.8944000005722046, 0.8944000005722046]
    >>> float(layer.moving_mean[0]), float(layer.moving_variance[0])
    (1.0, 1.0)
    """

    axis_name: Any = None

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        *,
        synchronized: bool = False,
        axis_name: Any = None,
        **options: Any,
    ) -> None:
        if synchronized and BACKEND == "jax" and axis_name is None:
            raise NotSupportedError.synchronized_without_axis()
        if axis_name is not None and BACKEND != "jax":
            raise NotSupportedError.named_axis(BACKEND)
        # Keras refuses the argument on all backends but one.
        super().__init__(axis=axis, momentum=momentum, epsilon=epsilon, **options)
        self.synchronized = synchronized
        self.axis_name = axis_name

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:  # noqa: FBT001 - Keras's signature
        """Return y of the dtype in which the layer computes."""
        if self._is_stock(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        try:
            return self._normalized(_float(inputs), mask, trains=bool(training and self.trainable))
        except BacknormError as error:
            # Keras would raise another error instead, with the name of the argument as its message.
            error._keras_call_info_injected = True  # type: ignore[attr-defined]  # noqa: SLF001
            raise

    def _normalized(self, x: Any, mask: Any, *, trains: bool) -> Any:
        gamma, beta = (None if v is None else v.value for v in (self.gamma, self.beta))
        axis = self.axis % len(x.shape)
        if not trains or (0 in x.shape and not self._spread()):
            mean, var = self.moving_mean.value, self.moving_variance.value
            y = engine.evaluated(x, gamma, beta, mean, var, axis=axis, eps=self.epsilon)
            return ops.cast(y, self.compute_dtype)
        counts = None
        if mask is not None:
            counts = ops.broadcast_to(ops.cast(mask, "bool"), ops.shape(x)[:-1])
        y, batch = engine.trained(
            x,
            gamma,
            beta,
            axis=axis,
            eps=self.epsilon,
            mask=counts,
            spread=self._spread(),
            layer=self.moving_mean.value,
        )
        for moving, seen in ((self.moving_mean, batch.mean), (self.moving_variance, batch.var)):
            moving.assign(self._moved(moving.value, seen, batch.n))
        return ops.cast(y, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration of Keras, and axis_name where there is one."""
        config: dict[str, Any] = super().get_config()
        return config if self.axis_name is None else {**config, "axis_name": self.axis_name}

    def _is_stock(self, inputs: Any, mask: Any) -> bool:
        """Whether Keras computes this call, or refuses it."""
        if getattr(self, "renorm", False):
            return True
        rank, last = len(inputs.shape), len(inputs.shape) - 1
        if mask is not None and (len(mask.shape) != last or self.axis % rank != last):
            return True
        return engine.leaves(inputs, self.axis % rank, spread=self._spread())

    def _spread(self) -> Any:
        """Return over what the batch is spread, as the engine names it."""
        return self.axis_name if BACKEND == "jax" else self.synchronized

    def _moved(self, moving: Any, seen: Any, n: Any) -> Any:
        """Return a running statistic after a batch; of a batch in which nothing counts, as is."""
        # Not by `keras.backend.result_type`: it answers float32 for two float64.
        dtypes = {keras.backend.standardize_dtype(value.dtype) for value in (moving, seen)}
        wide = ops.cast(moving, "float64" if "float64" in dtypes else "float32")
        now = wide * self.momentum + seen * (1.0 - self.momentum)
        return ops.where(n > 0, now, wide)


def _float(inputs: Any) -> Any:
    """Return x in a dtype of the engine: that of Keras where it has another."""
    name = keras.backend.standardize_dtype(inputs.dtype)
    if name in _check.DTYPES:
        return inputs
    return ops.cast(inputs, keras.backend.result_type(name, "float32"))
