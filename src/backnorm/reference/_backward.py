"""The gradient, path by path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from backnorm.reference._channels import spread, total, widen
from backnorm.reference._forward import forward
from backnorm.results import Gradients

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Through

__all__ = ["GradientParts", "backward", "backward_from_output", "backward_parts"]


@dataclass(frozen=True, slots=True, eq=False)
class GradientParts:
    """The gradient with respect to x along its three paths; shape of x, unit [loss]/[x].

    Attributes
    ----------
    direct
        D: the gradient if mean and variance are constants.
    mean
        M: the gradient through the mean; 0 with frozen statistics.
    variance
        V: the gradient through the variance; 0 with frozen statistics.
    """

    direct: AnyArray
    mean: AnyArray
    variance: AnyArray


def backward_parts(
    dy: AnyArray,
    x: AnyArray,
    gamma: AnyArray | None = None,
    *,
    channel_axis: int = 1,
    eps: float = 1e-5,
    running_mean: AnyArray | None = None,
    running_var: AnyArray | None = None,
) -> GradientParts:
    """Split the gradient: D = d, M = -sum(d)/n, V = -x_hat*sum(d*x_hat)/n, d = gamma*inv_std*dy.

    Eq. (8), (9) and (11) of docs/mathematics.md.

    Parameters
    ----------
    dy
        Gradient of the loss with respect to y; shape of x, any float or complex dtype. [loss]/[y]
    x
        Input of the forward pass; any number of axes, any float or complex dtype. [x]
    gamma
        Scale; shape (C,); None stands for 1. [y]
    channel_axis
        The axis of x that holds the channels.
    eps
        Added to the variance. [x]^2
    running_mean
        Frozen mean; shape (C,); given together with `running_var`. [x]
    running_var
        Frozen variance; shape (C,). [x]^2

    Returns
    -------
    GradientParts
        D, M and V; their sum is the exact gradient.

    Raises
    ------
    IndexError
        If x has no axis `channel_axis`; nothing else is checked.

    Notes
    -----
    Source: docs/mathematics.md, derived there from the chain rule.

    Accuracy: as `forward`, relative to the largest d of a channel
    (`tests/test_reference_backward.py`).

    Cost: a forward pass, two more passes, three arrays like x.

    Examples
    --------
    inv_std is 1/2 and gamma 2, so that d = dy; its mean is 1 and the mean of d*x_hat 1/2:

    >>> import numpy as np
    >>> from backnorm import reference
    >>> x = np.array([[0.0], [0.0], [4.0], [4.0]])
    >>> dy = np.array([[1.0], [0.0], [0.0], [3.0]])
    >>> parts = reference.backward_parts(dy, x, np.array([2.0]), eps=0.0)
    >>> parts.direct[:, 0].tolist()
    [1.0, 0.0, 0.0, 3.0]
    >>> parts.mean[:, 0].tolist()
    [-1.0, -1.0, -1.0, -1.0]
    >>> parts.variance[:, 0].tolist()
    [0.5, 0.5, -0.5, -0.5]
    """
    fwd = forward(
        x, channel_axis=channel_axis, eps=eps, running_mean=running_mean, running_var=running_var
    )
    ndim = fwd.x_hat.ndim
    scale = fwd.inv_std if gamma is None else widen(gamma) * fwd.inv_std
    d = spread(scale, ndim, channel_axis) * widen(dy)
    if running_mean is not None:
        return GradientParts(d, np.zeros_like(d), np.zeros_like(d))
    mean_of_d = total(d, channel_axis) / fwd.n
    mean_of_product = total(d * fwd.x_hat, channel_axis) / fwd.n
    return GradientParts(
        direct=d,
        mean=np.zeros_like(d) - spread(mean_of_d, ndim, channel_axis),
        variance=-fwd.x_hat * spread(mean_of_product, ndim, channel_axis),
    )


def backward(
    dy: AnyArray,
    x: AnyArray,
    gamma: AnyArray | None = None,
    *,
    channel_axis: int = 1,
    eps: float = 1e-5,
    through: Through = "both",
    running_mean: AnyArray | None = None,
    running_var: AnyArray | None = None,
) -> Gradients:
    """Gradient of the loss: dx = D + M + V, dgamma = sum(dy*x_hat), dbeta = sum(dy).

    Eq. (5) and (12) of docs/mathematics.md; with frozen statistics Eq. (16).

    Parameters
    ----------
    dy
        Gradient of the loss with respect to y; shape of x, any float or complex dtype. [loss]/[y]
    x
        Input of the forward pass; any number of axes, any float or complex dtype. [x]
    gamma
        Scale; shape (C,); None stands for 1. [y]
    channel_axis
        The axis of x that holds the channels.
    eps
        Added to the variance. [x]^2
    through
        Which statistics contribute to dx; the direct path always does.
    running_mean
        Frozen mean; shape (C,); given together with `running_var`. [x]
    running_var
        Frozen variance; shape (C,). [x]^2

    Returns
    -------
    Gradients
        dx (shape of x), dgamma and dbeta (shape (C,)), also where gamma or beta is None.

    Raises
    ------
    IndexError
        If x has no axis `channel_axis`; nothing else is checked.

    Notes
    -----
    Source: Ioffe and Szegedy, "Batch Normalization", 2015, section 3, simplified in
    docs/mathematics.md.

    Accuracy: as `backward_parts` (`tests/test_reference_backward.py`).

    Cost: a forward pass and `backward_parts`.

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm import reference
    >>> x = np.array([[0.0], [0.0], [4.0], [4.0]])
    >>> dy = np.array([[1.0], [0.0], [0.0], [3.0]])
    >>> g = reference.backward(dy, x, np.array([2.0]), eps=0.0)
    >>> g.dx[:, 0].tolist()
    [0.5, -0.5, -1.5, 1.5]
    >>> g.dgamma.tolist(), g.dbeta.tolist()
    ([2.0], [4.0])
    """
    statistics: dict[str, Any] = {"running_mean": running_mean, "running_var": running_var}
    fwd = forward(x, channel_axis=channel_axis, eps=eps, **statistics)
    parts = backward_parts(dy, x, gamma, channel_axis=channel_axis, eps=eps, **statistics)
    dx = parts.direct
    if through in ("both", "mean"):
        dx = dx + parts.mean
    if through in ("both", "variance"):
        dx = dx + parts.variance
    dy = widen(dy)
    return Gradients(dx, total(dy * fwd.x_hat, channel_axis), total(dy, channel_axis))


def backward_from_output(
    dy: AnyArray,
    x_hat: AnyArray,
    inv_std: AnyArray,
    gamma: AnyArray | None = None,
    *,
    channel_axis: int = 1,
) -> AnyArray:
    """Gradient without x: dx = (d - mean(d) - mean(d*x_hat)*x_hat)*inv_std, here d = gamma*dy.

    Eq. (14) of docs/mathematics.md: Caffe's form, for which y may overwrite x.

    Parameters
    ----------
    dy
        Gradient of the loss with respect to y; shape of x, any float or complex dtype. [loss]/[y]
    x_hat
        The output before gamma and beta; shape of x. No unit.
    inv_std
        1/sqrt(var + eps) of the batch; shape (C,). 1/[x]
    gamma
        Scale; shape (C,); None stands for 1. [y]
    channel_axis
        The axis of dy that holds the channels.

    Returns
    -------
    numpy.ndarray
        dx through both statistics; shape of x. [loss]/[x]

    Raises
    ------
    IndexError
        If dy has no axis `channel_axis`; nothing else is checked.

    Notes
    -----
    Source: BVLC Caffe, commit 9b891540, src/caffe/layers/batch_norm_layer.cpp.

    Accuracy: as `backward` (`tests/test_reference_backward.py`).

    Cost: three passes over dy and x_hat.

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm import reference
    >>> x_hat = np.array([[-1.0], [-1.0], [1.0], [1.0]])
    >>> dy = np.array([[1.0], [0.0], [0.0], [3.0]])
    >>> dx = reference.backward_from_output(dy, x_hat, np.array([0.5]), np.array([2.0]))
    >>> dx[:, 0].tolist()
    [0.5, -0.5, -1.5, 1.5]
    """
    d, x_hat, inv_std = widen(dy), widen(x_hat), widen(inv_std)
    if gamma is not None:
        d = d * spread(widen(gamma), d.ndim, channel_axis)
    n = d.size / len(inv_std)
    mean_of_d = spread(total(d, channel_axis) / n, d.ndim, channel_axis)
    mean_of_product = spread(total(d * x_hat, channel_axis) / n, d.ndim, channel_axis)
    dx: AnyArray = d - mean_of_d - mean_of_product * x_hat
    return dx * spread(inv_std, d.ndim, channel_axis)
